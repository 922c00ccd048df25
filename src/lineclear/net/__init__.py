"""HTTP/1.1 on both sides, TLS, DNS, egress guard. Knows no model, key or route."""
