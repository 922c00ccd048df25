"""The admin API's client, as the CLI uses it."""
