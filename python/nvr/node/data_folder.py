"""Where a node keeps its key, catalog and audit record."""

from pathlib import Path

from nvr.errors import StoreError

__all__ = ["make_data_folder"]


def make_data_folder(folder: Path) -> None:
    """The folder for a node's key, catalog and audit record, for its user only. Raises :exc:`StoreError`."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{folder}: the node's data folder cannot be made: {error.strerror}", error.errno, str(folder)
        ) from error
