"""The console: pages over the admin API's own endpoints, for people with a browser."""
