"""The floor of SQL: databases, tables, migrations. Above it nobody writes DDL; below it nobody knows SQL."""
