"""Evals: answers of two releases to the same cases, scored and weighed against each other."""
