"""The hot path: one file per step, in order of time. No database, no control plane."""
