"""Who a node is, who calls it, and what it keeps on record about that."""
