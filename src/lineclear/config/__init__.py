"""The only reader of the environment and of manifest files."""
