"""The resources of watched processes over time, and who takes them away: memory, CPU, storage,
waiting.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque

import msgspec

from receiver.events import Neighbour, ProcessKey, ProcessSample, ThreadWait, WaitStack
from receiver.facts.tree import Process
from receiver.units import MIB

CURVE_POINTS = 64
STEP_BYTES = 16 * MIB
NEIGHBOURS = 512
WINDOW_NS = 60_000_000_000
LOOKS = 5  # a condition must hold in so many samples in a row
KEPT_WAITS = 64


Point = tuple[int, int, str]  # boot ns, bytes, event id


class Curve:
    """Growth of a value, in a bounded number of points.

    When there are too many, every second one is dropped and the step doubles. The peak is exact.
    Every point cites the event that shows it.
    """

    __slots__ = ("_skip", "_step", "peak", "points")

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.peak = 0
        self._step = 1
        self._skip = 0

    def add(self, at_ns: int, value: int, event: str = "") -> None:
        self.peak = max(self.peak, value)
        if self.points and abs(value - self.points[-1][1]) * 64 < max(value, STEP_BYTES):
            return  # too small a change to show on a curve
        self._skip += 1
        if self._skip < self._step:
            return
        self._skip = 0
        self.points.append((at_ns, value, event))
        if len(self.points) > CURVE_POINTS:
            self.points = self.points[::2]
            self._step *= 2


class Usage:
    """The usage of one watched process, from its samples."""

    __slots__ = (
        "curve",
        "first",
        "growth_reported",
        "idle_since_ns",
        "last",
        "pressed_ns",
        "pressure",
        "recent",
        "reported",
        "spell",
        "stacks",
        "waits",
        "worst",
    )

    def __init__(self) -> None:
        self.curve = Curve()
        self.first: ProcessSample | None = None
        self.last: ProcessSample | None = None
        # (boot ns, resident bytes) in the last LOOKS samples
        self.recent: tuple[tuple[int, int], ...] = ()
        # resource → (samples in a row, share of the last one)
        self.pressure: dict[str, tuple[int, float]] = {}
        self.reported: tuple[str, ...] = ()
        self.growth_reported = False
        self.idle_since_ns = 0  # neither CPU nor bytes since then
        self.waits: dict[int, ThreadWait] = {}  # the latest wait of each thread
        self.stacks: dict[int, WaitStack] = {}  # the stacks of the same threads
        self.spell: IdlePeriod | None = None  # the longest time in which it did nothing
        self.pressed_ns: dict[str, int] = {}  # resource → how long it was short, in total
        # resource → the largest share, and the sample that shows it
        self.worst: dict[str, tuple[float, ProcessSample]] = {}

    def add(self, sample: ProcessSample) -> None:
        """Computes what changed since the last sample."""
        rss = resident(sample)
        self.curve.add(sample.time_boottime_ns, rss, f"{sample.cpu}-{sample.sequence}")
        self.first = self.first or sample
        self.curve.peak = max(self.curve.peak, sample.peak_rss_bytes)
        self.recent = (*self.recent[1 - LOOKS :], (sample.time_boottime_ns, rss))
        last, self.last = self.last, sample
        if last is None:
            return
        interval = sample.time_boottime_ns - last.time_boottime_ns
        if interval <= 0:
            return
        self.note_spell(sample.time_boottime_ns)
        worked = sample.cpu_runtime_ns - last.cpu_runtime_ns > interval // 500 or moved(
            sample
        ) != moved(last)
        if worked:
            self.idle_since_ns = 0
            self.waits, self.stacks = {}, {}
        elif not self.idle_since_ns:
            self.idle_since_ns = last.time_boottime_ns
        running = interval * max(1, sample.running_threads)
        periods = sample.cpu_periods - last.cpu_periods
        throttled = (
            (sample.throttled_periods - last.throttled_periods) / periods if periods > 0 else 0.0
        )
        stalled = _share(sample.io_stall_ns - last.io_stall_ns, interval)
        self._press(
            "cpu", _share(sample.run_delay_ns - last.run_delay_ns, running), 0.3, sample, interval
        )
        self._press("quota", throttled, 0.25, sample, interval)
        self._press(
            "memory",
            _share(sample.memory_stall_ns - last.memory_stall_ns, interval),
            0.2,
            sample,
            interval,
        )
        self._press(
            "disk", max(stalled, 1.0 if sample.disk_threads else 0.0), 0.2, sample, interval
        )
        self._press("faults", _faulting(last, sample, interval), 0.5, sample, interval)

    def note_spell(self, now_ns: int) -> None:
        """Keeps the current idle time, if it is the longest so far."""
        lasted = now_ns - self.idle_since_ns if self.idle_since_ns else 0
        if lasted > (self.spell.ns if self.spell is not None else 0):
            self.spell = IdlePeriod(
                self.idle_since_ns, lasted, tuple(self.waits.values()), tuple(self.stacks.values())
            )

    def _press(
        self, resource: str, share: float, limit: float, sample: ProcessSample, interval: int
    ) -> None:
        if share < limit:
            self.pressure.pop(resource, None)
            return
        self.pressure[resource] = (self.pressure.get(resource, (0, 0.0))[0] + 1, share)
        self.pressed_ns[resource] = self.pressed_ns.get(resource, 0) + interval
        if share > self.worst.get(resource, (0.0, None))[0]:
            self.worst[resource] = (share, sample)

    def pressed(self) -> list[tuple[str, float]]:
        """Resources that were short in the last LOOKS samples, each reported once."""
        kept = [
            (r, held)
            for r, held in self.pressure.items()
            if r not in self.reported and r != "faults"
        ]
        short = [(r, min(1.0, share)) for r, (looks, share) in kept if looks >= LOOKS]
        self.reported += tuple(r for r, _ in short)
        return short


class IdlePeriod(msgspec.Struct, frozen=True):
    """An interval in which a process neither used CPU nor moved a byte, and what its threads waited
    for.
    """

    since_ns: int
    ns: int
    waits: tuple[ThreadWait, ...]
    stacks: tuple[WaitStack, ...] = ()

    def stack(self, wait: ThreadWait) -> WaitStack | None:
        return next((s for s in self.stacks if s.thread == wait.thread), None)


_FAULTS_PER_SECOND = 200  # pages that were read back singly
_REREAD_SHARE = 0.25  # share of the limit that was read back in a second without a read(2)


def _faulting(last: ProcessSample, sample: ProcessSample, interval: int) -> float:
    """How hard a full cgroup reads evicted pages back again; 1.0 is hard.

    Reads by system calls do not count as faults.
    """
    if (
        not sample.memory_limit_bytes
        or sample.memory_usage_bytes < 0.95 * sample.memory_limit_bytes
    ):
        return 0.0
    seconds = interval / 1e9
    faults = sample.major_faults - last.major_faults
    mapped = (sample.read_bytes - last.read_bytes) - (sample.read_call_bytes - last.read_call_bytes)
    if not faults:
        return 0.0
    return max(
        faults / seconds / _FAULTS_PER_SECOND,
        mapped / seconds / (_REREAD_SHARE * sample.memory_limit_bytes),
    )


def resident(sample: ProcessSample) -> int:
    return sample.anon_bytes + sample.file_bytes + sample.shmem_bytes


def moved(sample: ProcessSample) -> int:
    return sample.read_call_bytes + sample.write_call_bytes


def _share(part: int, whole: int) -> float:
    return max(0.0, part / whole) if whole > 0 else 0.0


class Competitor(msgspec.Struct, frozen=True, kw_only=True):
    """A process that took a resource. It is reported by name, never by its arguments."""

    pid: int
    name: str
    growth_bytes: int
    cpu_ns: int
    key: ProcessKey | None = None
    rss_bytes: int = 0
    points: tuple[Point, ...] = ()  # its memory over time
    own: bool = False  # it does the same work


class Neighbours:
    """Processes that are not watched and that recently grew or used CPU.

    The one sampled least recently is evicted first.
    """

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self._looks: OrderedDict[ProcessKey, deque[Neighbour]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._looks)

    def add(self, look: Neighbour) -> None:
        looks = self._looks.setdefault(look.process, deque(maxlen=60))
        looks.append(look)
        self._looks.move_to_end(look.process)
        if len(self._looks) > NEIGHBOURS:
            self._looks.popitem(last=False)
            self.drops["forgotten_neighbour"] += 1

    def top(
        self, now_ns: int, *, memory_cgroup_id: int = 0, by_cpu: bool = False
    ) -> Competitor | None:
        """The processes that took most in the last minute: memory of one cgroup, memory of the
        host, or CPU.
        """
        found = self.all(now_ns, memory_cgroup_id=memory_cgroup_id)
        return max(found, key=lambda t: t.cpu_ns if by_cpu else t.growth_bytes, default=None)

    def all(self, now_ns: int, *, memory_cgroup_id: int = 0) -> list[Competitor]:
        """The amount that each of them took in the last minute."""
        out: list[Competitor] = []
        for key, looks in self._looks.items():
            recent = [n for n in looks if now_ns - n.time_boottime_ns <= WINDOW_NS]
            if memory_cgroup_id:
                recent = [n for n in recent if n.shares_memory_cgroup]
            if not recent:
                continue
            growth = sum(_signed(n.rss_growth_bytes) for n in recent)
            points = tuple(
                (n.time_boottime_ns, n.rss_bytes, f"{n.cpu}-{n.sequence}") for n in recent
            )
            cpu_ns = sum(n.cpu_ns for n in recent)
            out.append(
                Competitor(
                    pid=key.tgid,
                    name=recent[-1].comm,
                    growth_bytes=growth,
                    cpu_ns=cpu_ns,
                    key=key,
                    rss_bytes=recent[-1].rss_bytes,
                    points=points,
                )
            )
        return out


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def main_wait(process: Process) -> ThreadWait | None:
    """What the process as a whole waits for: its first thread's wait, or that of a thread which
    waits without a timeout.
    """
    usage = process.usage
    if usage is None or not usage.waits:
        return None
    waits = sorted(
        usage.waits.values(), key=lambda w: (bool(w.timed), w.thread != process.key.tgid)
    )
    return waits[0]
