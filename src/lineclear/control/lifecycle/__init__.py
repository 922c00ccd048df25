"""Model versions through their life: verbs that move their status, who still calls them, what replaces them."""
