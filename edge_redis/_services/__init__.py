"""The public classes: written for asyncio in `aio`, generated from it for blocking clients in `blocking`."""
