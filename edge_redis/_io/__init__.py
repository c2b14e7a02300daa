"""The only importer of redis, asyncio and threading: runners, servers, tickers, lifetimes."""
