"""The host's wall clock and the names of its containers, which change while it is observed."""

from __future__ import annotations

import logging

from receiver.kernel.clock import boottime_ns, wall_offset_ns
from receiver.kernel.pods import container_names
from receiver.model import ContainerName
from receiver.observe.session import Session

log = logging.getLogger("kwitness")
STEP_NS = 50_000_000  # a larger change of the wall clock is a step, not slew
SLEW_NS = 500_000  # a smaller change is measurement noise


class Surroundings:
    """`wall_offset_ns`: Unix time minus boot time. `container_folder`: empty for no names."""

    def __init__(self, container_folder: str) -> None:
        self.wall_offset_ns = wall_offset_ns()
        self._folder = container_folder
        self._containers: tuple[ContainerName, ...] = ()

    def begin(self, session: Session) -> None:
        session.wall_offset(self.wall_offset_ns, boottime_ns())

    def check_clock(self, session: Session) -> None:
        offset = wall_offset_ns()
        moved = offset - self.wall_offset_ns
        if abs(moved) > STEP_NS:
            log.warning("the wall clock moved by %.3f s", moved / 1e9)
        if abs(moved) > SLEW_NS:
            self.wall_offset_ns = offset
            session.wall_offset(offset, boottime_ns())

    def name_containers(self, session: Session) -> None:
        found = container_names(self._folder) if self._folder else ()
        if found != self._containers:
            self._containers = found
            session.containers(found, boottime_ns())
