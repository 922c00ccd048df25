"""Reads the ledger: queries, rollups, metrics. Decides nothing."""
