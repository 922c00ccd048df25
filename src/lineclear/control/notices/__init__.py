"""Notices: what happened, told to those whom it concerns."""
