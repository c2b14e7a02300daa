"""The cache: values with a TTL under a bound of entries or bytes, with access counts and eviction."""
