"""What `lineclear doctor` looks at: each file one area, each check a function of the scene that yields findings."""
