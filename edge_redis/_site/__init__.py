"""A site as its operators see it (``SiteReader``), and the processes of the demo site of `edge-redis up`."""
