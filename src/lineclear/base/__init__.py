"""Floor zero: clock, ids, bounded queue, secret string, sealing, canonical JSON. Knows nobody."""
