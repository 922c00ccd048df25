"""Pure detectors: what stands in a text that must not, whether it comes whole or in pieces. No I/O, no policy."""
