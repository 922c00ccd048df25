"""SQL engines, tables and transactions. Writes what it is given; decides nothing."""
