"""Programs that we did not write, as the other end of a test."""
