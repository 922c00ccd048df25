"""Public fakes: scripted upstreams, clocks, fault proxies. Used by tests and by users' tests."""
