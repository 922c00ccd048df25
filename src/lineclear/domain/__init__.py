"""The vocabulary: frozen values and pure rules. Standard library and msgspec only."""
