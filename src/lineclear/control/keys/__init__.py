"""API keys: made, listed, revoked. A key itself is shown once and stored nowhere."""
