"""What crosses the planes on disk: spool, snapshot directory, overrides, acknowledgements. No SQL, no sockets but the poke."""
