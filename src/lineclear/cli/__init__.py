"""The command line: one file per noun, speaking to the admin API like any user."""
