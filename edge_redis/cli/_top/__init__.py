"""The terminal application of `edge-redis top`: its views of a site's state, and its keys."""
