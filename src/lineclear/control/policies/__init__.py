"""Policies as the API lists them, and what routes would do: before a call is sent, and without a provider."""
