"""The demo site of `edge-redis up`: edge processes, a cloud worker and a monitor on one Redis, run as processes."""
