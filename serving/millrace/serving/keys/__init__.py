"""Lookups beside equality: the row whose interval holds a key, and the rows whose keys begin alike."""
