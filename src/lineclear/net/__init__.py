"""HTTP/1.1 on both sides, TLS, DNS and the egress guard: every socket to the outside is opened here.

In: listening sockets, origins, bytes. Out: requests to a handler, answers of a target, typed errors.
Must not know routes, dialects, keys or the ledger.
"""
