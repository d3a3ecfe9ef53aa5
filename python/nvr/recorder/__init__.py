"""A recorder node: records cameras and serves their footage."""
