"""Alembic's folder: `env.py` and one folder of scripts per lineage. Scripts are never edited once released."""
