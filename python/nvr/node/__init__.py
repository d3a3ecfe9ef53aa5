"""What every node has, whatever it is for: its life cycle, its process, its place to listen."""
