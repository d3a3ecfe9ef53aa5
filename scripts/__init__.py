"""Scripts that keep generated files in step with their sources."""
