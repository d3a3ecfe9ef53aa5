"""The authority over the leases of groups of recorders: who is to record what when one of them fails."""
