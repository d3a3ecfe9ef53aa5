"""Uplinks: a node behind NAT dials its parent, and answers the parent's calls over that connection."""
