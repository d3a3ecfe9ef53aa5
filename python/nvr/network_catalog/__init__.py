"""The catalog of the whole network: areas, nodes and cameras; written at one root, versions flow down."""
