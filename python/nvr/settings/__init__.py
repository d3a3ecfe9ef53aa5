"""Settings files: their fields, and how they are read and their faults told."""
