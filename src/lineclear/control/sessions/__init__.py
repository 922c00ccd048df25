"""Who is signed in to the console: one-use links, sessions, sign-out."""
