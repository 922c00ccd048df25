"""Datasets, and their cases asked of releases through the inner door of the gateways."""
