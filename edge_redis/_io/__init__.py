"""Clients, runners, background work and shutdown. Components do no I/O: they import no redis, asyncio or threading."""
