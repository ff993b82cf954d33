"""The history: statistics of earlier runs and the incidents that were seen before.

This module has values only; a store loads and saves them. The statistics are robust: the median and
the median absolute deviation (MAD) of the last RUNS runs. Each user has a share of the room: what
one user runs, however much, removes nothing of another user.
"""

from __future__ import annotations

import hashlib
import re
import statistics
from collections import Counter, defaultdict, deque
from collections.abc import Iterable

import msgspec

from receiver.attribution.partitions import partition_in_path
from receiver.facts.versions import VersionState
from receiver.investigate.case import Case, TaskKey
from receiver.investigate.entries import (
    RunSummary,
    Sighting,
    Used,
    Uses,
    owner_of,
    places,
    sighting_key,
)
from receiver.units import KIB
from receiver.work.fair_table import FairTable
from receiver.work.tables import Use

RUNS = 50  # runs kept for each task
# Places for tasks. Above this number, the user with most places loses the task whose last run is
# oldest.
TASKS = 2000
SIGNATURES = 5000  # above this number, the user with most loses the oldest
KEPT_PATHS = 64  # paths kept for each run
KEPT_BYTES = 8 * KIB  # of the names in one run: paths, partitions and endpoints have a third each
ENOUGH = 5  # the number of runs that statistics need
NOTE_BYTES = 500
_MAD = 1.4826  # MAD x 1.4826 estimates the standard deviation of a normal distribution
_NUMBER = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{16,}|\d+"
)
_SCRATCH = re.compile(r"^(/tmp|/var/tmp|/dev/shm)/[^/]+")


class Usual(msgspec.Struct, frozen=True):
    """The median of some values and their deviation from it."""

    median: float
    mad: float
    count: int
    most: float

    def times(self, value: float) -> float:
        return value / self.median if self.median else 0.0

    def is_far_above(self, value: float, factor: float = 1.5) -> bool:
        """Whether a value is above the maximum and far above the median.

        Far means more than three deviations, and more than `factor` times the median.
        """
        return self.count >= ENOUGH and value > max(
            self.most, self.median + 3 * _MAD * self.mad, factor * self.median
        )


def usual(values: Iterable[float]) -> Usual | None:
    found = list(values)
    if not found:
        return None
    median = statistics.median(found)
    return Usual(median, statistics.median(abs(v - median) for v in found), len(found), max(found))


class History:
    """Runs and sightings, bounded. `fresh` holds the new entries until a store takes them.

    `uses` holds the entries that reports were made with, until a recording takes them. `drops`
    counts what was forgotten.
    """

    def __init__(self) -> None:
        self.tasks: FairTable[TaskKey, deque[RunSummary]] = FairTable(TASKS)
        self.sightings: FairTable[str, Sighting] = FairTable(SIGNATURES)
        self._sizes: dict[TaskKey, int] = {}
        self.fresh: list[tuple[TaskKey, RunSummary] | Sighting] = []
        self.drops: Counter[str] = Counter()
        self.uses = Uses()

    def restore(self, used: Used) -> None:
        """Sets the entries that the recorded reports were made with."""
        for key, runs in used.runs:
            self.tasks.pop(key)
            self._sizes.pop(key, None)
            for run in runs:
                self.remember(key, run)
        for signature, sighting in used.sightings:
            self.sightings.pop(signature)
            if sighting is not None:
                self.remember_sighting(sighting)

    def add(self, key: TaskKey, run: RunSummary) -> None:
        self.remember(key, run)
        self.fresh.append((key, run))

    def remember(self, key: TaskKey, run: RunSummary) -> None:
        runs = self.tasks.pop(key) or deque(maxlen=RUNS)
        size = self._sizes.get(key, 0) + run.size_bytes
        if len(runs) == RUNS:
            size -= runs[0].size_bytes
        runs.append(run)
        self._sizes[key] = size
        # now it is the newest
        for forgotten, _ in self.tasks.put(key, runs, owner_of(key[0]), places(size)):
            del self._sizes[forgotten]
            self.uses.evicted(forgotten)
            self.drops["forgotten_task"] += 1

    def remember_sighting(self, sighting: Sighting) -> None:
        for forgotten, _ in self.sightings.put(sighting.key, sighting, sighting.owner):
            self.uses.evicted(forgotten)
            self.drops["forgotten_sighting"] += 1

    def absorb(self, earlier: History) -> None:
        """Adds stored entries.

        They may arrive after the first runs of this process, which are newer.
        """
        self.uses.loaded()
        since, self.tasks, self._sizes = self.tasks, FairTable(TASKS), {}
        for key, runs in (*earlier.tasks.items(), *since.items()):
            for run in runs:
                self.remember(key, run)
        newer, self.sightings = self.sightings, FairTable(SIGNATURES)
        for before in earlier.sightings.values():
            now = newer.pop(before.key)
            self.remember_sighting(before if now is None else self._joined(before, now))
        for now in newer.values():
            self.remember_sighting(now)

    def _joined(self, before: Sighting, now: Sighting) -> Sighting:
        both = msgspec.structs.replace(
            now,
            count=before.count + now.count,
            first_unix_ns=before.first_unix_ns,
            note=now.note or before.note,
        )
        self.fresh = [
            x for x in self.fresh if not (isinstance(x, Sighting) and x.key == before.key)
        ]
        self.fresh.append(both)
        return both

    def seen(self, signature: str, owner: int) -> Sighting | None:
        """The sightings in the work of this user, or those that version 0.1 stored for any user."""
        for key in (sighting_key(signature, owner), signature):
            found = self.sightings.get(key)
            self.uses.sighting(key, found)
            if found is not None:
                return found
        return None

    def saw(self, now: Sighting) -> Sighting | None:
        """Counts one more incident and returns the sighting as it was before."""
        before = self.seen(now.signature, now.owner)
        if before is not None:
            now = msgspec.structs.replace(
                now,
                count=before.count + now.count,
                first_unix_ns=before.first_unix_ns,
                note=before.note,
            )
        self.remember_sighting(now)
        self.fresh.append(now)
        return before

    def note(self, signature: str, text: str) -> bool:
        """Stores an operator's note. Returns False if the signature is unknown."""
        known = [s for s in self.sightings.values() if s.signature == signature]
        for each in known:
            noted = msgspec.structs.replace(each, note=text[:NOTE_BYTES])
            self.remember_sighting(noted)
            self.fresh.append(noted)
        return bool(known)

    def take(self) -> list[tuple[TaskKey, RunSummary] | Sighting]:
        out, self.fresh = self.fresh, []
        return out

    def good_runs(self, key: TaskKey) -> list[RunSummary]:
        runs = self.tasks.get(key) or ()
        self.uses.runs(key, runs)
        return [r for r in runs if not r.failed]

    def duration(self, key: TaskKey) -> Usual | None:
        return usual(r.seconds for r in self.good_runs(key))

    def partition(self, key: TaskKey) -> Usual | None:
        return usual(size for r in self.good_runs(key) for size in r.partitions.values())

    def output(self, key: TaskKey, place: str) -> Usual | None:
        return usual(r.outputs[place] for r in self.good_runs(key) if place in r.outputs)

    def peak(self, key: TaskKey) -> Usual | None:
        return usual(r.peak_bytes for r in self.good_runs(key))


def place(path: str) -> str:
    """Returns the path without the parts that change from run to run."""
    return _NUMBER.sub("#", _SCRATCH.sub(r"\1/*", path))


def partition_bytes(case: Case) -> dict[str, tuple[int, list[Use]]]:
    """Returns the input bytes of each partition. Each file counts once, with its size."""
    seen: dict[tuple[int, int], tuple[str, Use]] = {}
    for actor in case:
        for use in actor.uses:
            # A file that was opened for both and was only written is no input. Spark reads and
            # writes in one JVM.
            read = use.read_bytes or not use.writing
            if (
                use.reading
                and read
                and "=" in use.path
                and not use.path.endswith(".crc")
                and (found := partition_in_path(use.path))
            ):
                seen[use.key] = (found, use)
    out: dict[str, tuple[int, list[Use]]] = {}
    by_name: dict[str, list[Use]] = defaultdict(list)
    for name, use in seen.values():
        by_name[name].append(use)
    for name, uses in by_name.items():
        out[name] = (sum(max(u.size_at_open, u.size_bytes) for u in uses), uses)
    return out


def outputs_of(case: Case) -> dict[str, int]:
    out: dict[str, int] = {}
    for version in case.execution.outputs[:KEPT_PATHS]:
        where = place(version.path)
        out[where] = out.get(where, 0) + max(version.size_bytes, 0)
    return out


def shape_of(case: Case) -> str:
    """Describes which programs started which, without numbers and order."""
    edges = set()
    for actor in case:
        parent = case.actors.get(actor.parent) if actor.parent is not None else None
        edges.add(f"{parent.name if parent is not None else '-'}>{actor.name}")
    return hashlib.sha256("\n".join(sorted(edges)).encode()).hexdigest()[:16]


def summarise(case: Case, ended_unix_ns: int) -> RunSummary:
    execution, root = case.execution, case.root
    endpoints = sorted(
        {f"{p.endpoint[0]}:{p.endpoint[1]}" for a in case for p in a.peers if p.endpoint[1]}
    )
    torn = any(v.state is VersionState.PARTIAL for v in execution.outputs)
    return RunSummary(
        ended_unix_ns=ended_unix_ns,
        run_id=execution.identity.run_id,
        seconds=case.seconds,
        failed=execution.result == "failure" or torn,
        end=root.end.error if root is not None else "",
        peak_bytes=max((a.peak_bytes for a in case), default=0),
        processes=execution.totals.processes,
        shape=shape_of(case),
        outputs=_kept(outputs_of(case)),
        partitions=_kept(
            dict(sorted((name, size) for name, (size, _) in partition_bytes(case).items()))
        ),
        endpoints=tuple(_kept(dict.fromkeys(endpoints, 0))),
    )


def _kept(found: dict[str, int]) -> dict[str, int]:
    """The first KEPT_PATHS, as far as their names fit: a path may have 4096 bytes."""
    out: dict[str, int] = {}
    left = KEPT_BYTES // 3
    for name, size in list(found.items())[:KEPT_PATHS]:
        left -= len(name)
        if left < 0:
            break
        out[name] = size
    return out


def signature(cause: str, task: str, executable: str, error: str, kinds: Iterable[str]) -> str:
    """Returns the signature (conventions, section 8).

    It contains no pid, time or path, so that it is the same for each recurrence.
    """
    parts = (cause, task, executable, error, *sorted(set(kinds)))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()[:16]
