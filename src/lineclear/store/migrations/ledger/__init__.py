"""Migrations of what happened: entries, rollups, positions."""
