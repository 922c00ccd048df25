"""Change requests: the one way in which files, CLI and API change what the platform should be."""
