"""The contract of footage, its values, and the two ends of the wire."""
