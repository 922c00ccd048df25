"""What workers must agree on within one request: limits, budgets, concurrency. No SQL."""
