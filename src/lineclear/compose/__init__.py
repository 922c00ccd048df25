"""The only room that knows everyone: supervisor and roles, one file each."""
