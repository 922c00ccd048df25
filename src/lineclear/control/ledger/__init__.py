"""What happened: usage, logs, explain and the check, asked through the admin API."""
