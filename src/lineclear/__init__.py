"""Lineclear: an AI deployment platform.

Importing the package loads nothing else, so that the supervisor can live on the standard library.
"""

__version__ = "0.1.0"
