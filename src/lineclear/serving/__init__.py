"""Runtimes: one supervised process per hosted model version, on a Unix socket."""
