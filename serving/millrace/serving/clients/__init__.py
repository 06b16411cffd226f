"""Writes clients: a typed Python module, and a `.proto`, for one API."""
