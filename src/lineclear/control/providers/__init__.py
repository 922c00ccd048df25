"""Providers as control sees them: whether one answers, with the credential that calls of an environment carry."""
