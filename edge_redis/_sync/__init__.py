"""Versioned state of scopes and its exchange with a cloud: the rules of EdgeSynchronizer and CloudWorker."""
