"""Moving a camera from one recorder to another: the contract."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from nvr.footage.types import End, Notice, ReadContext

__all__ = ["CameraMover", "MoveStep"]


@dataclass(frozen=True, slots=True)
class MoveStep:
    """A step that is done, see ``nvr.v1.MoveStep``. ``node``: the name of who did it."""

    step: str
    node: str


class CameraMover(Protocol):
    """Moves cameras between the recorders below a node."""

    def move(
        self, context: ReadContext, camera: str, to: str, *, actor: str, dry_run: bool = False
    ) -> AsyncIterator[MoveStep | Notice | End]:
        """The steps as they are done.

        Raises :exc:`nvr.errors.CameraNotFound`, :exc:`nvr.errors.AmbiguousCamera`,
        :exc:`nvr.errors.InvalidArgument`, :exc:`nvr.errors.LeaseRefused`.
        """
