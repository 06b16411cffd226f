"""KV APIs: rows by key."""
