"""How control and the processes around it are, for people, load balancers and the CLI."""
