"""What a node and all nodes below it have: kept, versioned, told upwards, and asked by place and time."""
