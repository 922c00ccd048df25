"""Who may do what: people, service accounts, grants, tokens, passwords, emergencies."""
