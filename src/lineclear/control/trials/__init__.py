"""Test messages: one real call through the data port, to see that it works."""
