"""What a node knows about its cameras, in a database of its own."""
