"""Leases: who is to record which camera. The values, and both sides of gRPC."""
