"""Reads what gateways wrote to the spool into the ledger, each record exactly once."""
