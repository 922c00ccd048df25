"""Rollouts: how a change of a route reaches its callers, watched and taken back by itself."""
