"""``[catalog]``: the network catalog in a node's settings."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from nvr.settings.fields import Section

__all__ = ["HolderSettings", "RootSettings"]

_Caller = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]


class HolderSettings(Section):
    """``[catalog]``: from whom a node takes versions."""

    parents: list[_Caller] = Field(default=[], max_length=100)
    """Ids of the nodes right above, or names of their certificates, from which versions are taken;
    callers on this machine may always bring one."""


class RootSettings(HolderSettings):
    """``[catalog]`` of a gateway: also where it is written, if it is this one."""

    database: str = Field(default="", repr=False)
    """Set at the root alone: ``sqlite`` for a file in the data folder, or
    ``postgresql://user@host/database``. A password is better kept in a file: PGPASSFILE."""
    writers: list[_Caller] = Field(default=[], max_length=1000)
    """Names of the certificates of those who may change the catalog; callers on this machine always may."""

    def address(self, folder: Path) -> str:
        """The database's address; empty: the catalog is not written at this node. ``folder``: its data."""
        if self.database == "sqlite":
            return f"sqlite:///{folder / 'network-catalog.sqlite'}"
        return self.database

    @field_validator("database")
    @classmethod
    def _checked(cls, value: str) -> str:
        if value and value != "sqlite":
            # What it needs takes memory, and most nodes are no root.
            from nvr.network_catalog.store.engine import parse_url

            parse_url(value)
        return value
