"""Values with a TTL under a bound, counted and evicted: the subject of EdgeCache."""
