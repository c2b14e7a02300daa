"""The main job: edge processes, a cloud worker and a monitor on one Redis, started, watched, ended and reported."""
