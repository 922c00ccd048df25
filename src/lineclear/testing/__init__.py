"""Test equipment over real sockets and processes: a scripted upstream, a load client, a platform under test."""
