"""Slices of the control plane, one folder per noun. Sole owner of the database."""
