"""Versioned state of scopes and its exchange: the subject of EdgeSynchronizer and CloudWorker."""
