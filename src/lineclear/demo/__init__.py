"""The invented company of `lineclear demo` and what its apps asked for: manifests and a history of requests."""
