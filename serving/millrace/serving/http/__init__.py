"""HTTP/1.1: a thin server of our own on asyncio's protocols, httptools' parser and uvloop's loop."""
