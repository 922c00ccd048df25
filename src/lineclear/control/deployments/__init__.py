"""What is and was in force where: the history of deployments, what releases differ in, versions of prompts."""
