"""Generated from ``protos/nvr/v1`` by ``scripts/generate_protos.py``: do not edit."""
