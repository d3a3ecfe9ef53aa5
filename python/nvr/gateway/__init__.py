"""A node that answers for the nodes below it."""
