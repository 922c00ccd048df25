"""Secrets: credentials that manifests name as `secret:NAME`. Values go in and are never shown again."""
