"""How a vendor is addressed: paths, credentials, headers. One row of data for most."""
