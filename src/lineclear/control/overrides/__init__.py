"""Emergencies over the admin API: rollback, drill, block, stop, start, and what stands ready."""
