"""The authorities of all groups of a gateway, as callers see them."""

from collections.abc import AsyncIterator, Sequence

from nvr.errors import AmbiguousCamera, CameraNotFound
from nvr.footage.types import End, Notice, ReadContext
from nvr.gateway.failover.driver import Driver
from nvr.gateway.failover.types import Outcome
from nvr.lease.types import GroupLease

__all__ = ["GroupAuthority"]


class GroupAuthority:
    """A :class:`nvr.lease.types.LeaseAuthority`."""

    def __init__(self, drivers: Sequence[Driver]) -> None:
        self._drivers = drivers

    async def list_group_leases(self, context: ReadContext) -> AsyncIterator[GroupLease | Notice | End]:
        """Every camera of the groups."""
        for driver in self._drivers:
            silent = [name for name, alive in driver.authority.alive().items() if not alive]
            for name in silent:
                yield Notice("node_unreachable", f"{name} of group {driver.group.name} is silent", name)
            for lease in driver.authority.leases():
                yield lease
        yield End(complete=True)

    async def move_lease(
        self, context: ReadContext, camera: str, to: str, *, dry_run: bool = False
    ) -> GroupLease:
        """Decides a move; what is decided is on disk."""
        driver, lease = self._find(camera)
        await driver.step(lambda now_us: driver.authority.move(lease.camera_id, to, now_us, dry_run=dry_run))
        return driver.authority.lease(lease.camera_id)

    async def give_back_leases(
        self, context: ReadContext, node: str = "", *, dry_run: bool = False
    ) -> tuple[Sequence[GroupLease], Sequence[GroupLease]]:
        """Cameras that are not at home are placed there."""
        moving: list[GroupLease] = []
        staying: list[GroupLease] = []
        for driver in self._drivers:
            for lease in driver.authority.leases():
                if lease.holder == lease.home or (node and lease.home != node) or lease.state == "retired":
                    continue
                goes: list[bool] = []

                def decide(
                    now_us: int,
                    driver: Driver = driver,
                    camera_id: str = lease.camera_id,
                    goes: list[bool] = goes,
                ) -> Outcome:
                    gone, outcome = driver.authority.give_back(camera_id, now_us, dry_run=dry_run)
                    goes.append(gone)
                    return outcome

                await driver.step(decide)
                (moving if goes[0] else staying).append(driver.authority.lease(lease.camera_id))
        return moving, staying

    def _find(self, camera: str) -> tuple[Driver, GroupLease]:
        node, slash, name = camera.rpartition("/")
        found = [
            (driver, lease)
            for driver in self._drivers
            for lease in driver.authority.leases()
            if lease.camera_id == camera.lower() or (lease.name == name and (not slash or lease.home == node))
        ]
        if not found:
            raise CameraNotFound(f"no group has a camera {camera[:200]!r}", field="camera")
        if len(found) > 1:
            candidates = ", ".join(sorted(f"{lease.home}/{lease.name}" for _, lease in found))
            raise AmbiguousCamera(
                f"several cameras are named {name}: {candidates}",
                field="camera",
                facts={"candidates": candidates},
            )
        return found[0]
