"""The public classes for an asyncio client."""
