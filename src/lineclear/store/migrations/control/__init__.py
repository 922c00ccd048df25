"""Migrations of what people change: catalogue, keys, releases, deployments, audit."""
