"""What other frameworks need to use this package, a module each. Each needs the extra of its name.

| module | what it has |
|---|---|
| ``starlette`` | lifespan, health endpoint and response cache, for Starlette and FastAPI |
| ``apprise`` | notifications by mail, Slack, PagerDuty and others |
| ``apscheduler`` | jobs that synchronize, purge and check |
| ``django`` | a cache backend |
| ``flask_caching`` | a cache backend |
| ``dogpile`` | a region backend |
"""
