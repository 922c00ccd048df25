"""Codecs: bytes and canonical events, JSON guard, SSE, problems, account frames. Pure: no sockets, no files."""
