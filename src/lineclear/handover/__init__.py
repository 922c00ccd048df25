"""What crosses the planes on disk: spool, snapshot directory, overrides, acknowledgements, the poke. No SQL."""
