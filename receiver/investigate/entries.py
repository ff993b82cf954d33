"""The entries of a history, and which of them the reports used: a recording stores these only."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from receiver.investigate.case import TaskKey
from receiver.units import KIB

PLACE_BYTES = 32 * KIB  # of the runs of a task; larger ones take more places in a history
UNKNOWN_OWNER = -1  # of entries that version 0.1 stored
_OWNER = re.compile(r" of uid ([0-9]{1,10})\Z")
KNOWN = 10_000  # keys of used entries; past it, entries count as unused again, which is harmless


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The summary of one run of one task.

    The keys of `outputs` are paths without their numbers; the keys of `partitions` are partition
    names.
    """

    ended_unix_ns: int
    run_id: str
    seconds: float
    failed: bool
    end: str
    peak_bytes: int
    processes: int
    shape: str
    outputs: dict[str, int]
    partitions: dict[str, int]
    endpoints: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """About the size of its text. Its other fields have 300 bytes."""
        names = (self.run_id, *self.outputs, *self.partitions, *self.endpoints)
        return 300 + sum(len(name) + 16 for name in names)


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """How often and when an incident with this signature occurred in the work of one user, and the
    operator's note.
    """

    signature: str
    cause: str
    count: int
    first_unix_ns: int
    last_unix_ns: int
    last_run: str
    note: str = ""
    owner: int = UNKNOWN_OWNER

    @property
    def key(self) -> str:
        """The key under which it is kept: the failures of one user are not those of another."""
        return sighting_key(self.signature, self.owner)


def sighting_key(signature: str, owner: int) -> str:
    return signature if owner == UNKNOWN_OWNER else f"{signature} of uid {owner}"


def owner_of(key: object) -> int:
    """The user in the key of a sighting, or in the first part of a task's key. Any value may come
    from a damaged file.
    """
    found = _OWNER.search(key) if isinstance(key, str) else None
    return int(found[1]) if found is not None else UNKNOWN_OWNER


def places(size_bytes: int) -> int:
    """The places that a task with runs of this size takes."""
    return max(1, -(-size_bytes // PLACE_BYTES))


class Used(msgspec.Struct, frozen=True):
    """Entries with the content that they had before they were used. Empty: there was none."""

    runs: tuple[tuple[TaskKey, tuple[RunSummary, ...]], ...] = ()
    sightings: tuple[tuple[str, Sighting | None], ...] = ()


class Uses:
    """Collects each entry at its first use. Its later changes follow from the core's inputs."""

    def __init__(self) -> None:
        self._known: set[TaskKey | str] = set()
        self._runs: list[tuple[TaskKey, tuple[RunSummary, ...]]] = []
        self._sightings: list[tuple[str, Sighting | None]] = []

    def runs(self, key: TaskKey, runs: Iterable[RunSummary]) -> None:
        if self._is_new(key):
            self._runs.append((key, tuple(runs)))

    def sighting(self, signature: str, sighting: Sighting | None) -> None:
        if self._is_new(signature):
            self._sightings.append((signature, sighting))

    def _is_new(self, key: TaskKey | str) -> bool:
        if key in self._known:
            return False
        if len(self._known) >= KNOWN:
            self._known.clear()
        self._known.add(key)
        return True

    def evicted(self, key: TaskKey | str) -> None:
        """A next use is the use of another entry."""
        self._known.discard(key)

    def loaded(self) -> None:
        """Entries came from outside: each next use is a first one."""
        self._known.clear()

    def take(self) -> Used | None:
        """The uses since the last call; None if there were none."""
        if not self._runs and not self._sightings:
            return None
        used = Used(tuple(self._runs), tuple(self._sightings))
        self._runs, self._sightings = [], []
        return used
