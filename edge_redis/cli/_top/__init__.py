"""The terminal application of `edge-redis top`: what it shows of a site's state, and its keys."""
