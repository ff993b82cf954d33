"""The resources of watched processes over time: memory, CPU, storage, idle time."""

from __future__ import annotations

from receiver.events import EarlySample, ProcessKey, ProcessSample
from receiver.facts.table import Table
from receiver.facts.waits import IdlePeriod, WaitTable
from receiver.units import MIB

CURVE_POINTS = 64
STEP_BYTES = 16 * MIB
LOOKS = 5  # a condition must hold in so many samples in a row


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
        "early",
        "first",
        "growth_reported",
        "idle_period",
        "last",
        "pressed_ns",
        "pressure",
        "recent",
        "reported",
        "worst",
    )

    def __init__(self) -> None:
        self.curve = Curve()
        self.early: tuple[EarlySample, ...] = ()  # the last looks at it while it was young
        self.first: ProcessSample | None = None
        self.last: ProcessSample | None = None
        # (boot ns, resident bytes) in the last LOOKS samples
        self.recent: tuple[tuple[int, int], ...] = ()
        # resource → (samples in a row, share of the last one)
        self.pressure: dict[str, tuple[int, float]] = {}
        self.reported: tuple[str, ...] = ()
        self.growth_reported = False
        self.idle_period: IdlePeriod | None = None  # the longest time in which it did nothing
        self.pressed_ns: dict[str, int] = {}  # resource → how long it was short, in total
        # resource → the largest share, and the sample that shows it
        self.worst: dict[str, tuple[float, ProcessSample]] = {}

    def add(self, sample: ProcessSample) -> bool | None:
        """Computes what changed since the last sample: whether the process worked.

        None where nothing can be compared.
        """
        rss = resident(sample)
        self.curve.add(sample.time_boottime_ns, rss, f"{sample.cpu}-{sample.sequence}")
        self.first = self.first or sample
        self.curve.peak = max(self.curve.peak, sample.peak_rss_bytes)
        self.recent = (*self.recent[1 - LOOKS :], (sample.time_boottime_ns, rss))
        last, self.last = self.last, sample
        if last is None:
            return None
        interval = sample.time_boottime_ns - last.time_boottime_ns
        if interval <= 0:
            return None
        self._compare(last, sample, interval)
        return sample.cpu_runtime_ns - last.cpu_runtime_ns > interval // 500 or moved(
            sample
        ) != moved(last)

    def _compare(self, last: ProcessSample, sample: ProcessSample, interval: int) -> None:
        """How short each resource was between the two samples."""
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

    def note_idle(self, period: IdlePeriod | None) -> None:
        """Keeps the longest idle time."""
        if period is not None and period.ns > (
            self.idle_period.ns if self.idle_period is not None else 0
        ):
            self.idle_period = period

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


def resident(sample: ProcessSample | EarlySample) -> int:
    return sample.anon_bytes + sample.file_bytes + sample.shmem_bytes


def moved(sample: ProcessSample) -> int:
    return sample.read_call_bytes + sample.write_call_bytes


def _share(part: int, whole: int) -> float:
    return max(0.0, part / whole) if whole > 0 else 0.0


class UsageTable(Table[Usage]):
    def __init__(self, keys: set[ProcessKey], waits: WaitTable) -> None:
        super().__init__(keys)
        self.waits = waits

    def of(self, key: ProcessKey) -> Usage | None:
        """None for a process without a sample."""
        return self.rows.get(key)

    def last(self, key: ProcessKey) -> ProcessSample | None:
        usage = self.rows.get(key)
        return usage.last if usage is not None else None

    def sampled(self, sample: ProcessSample) -> Usage:
        key = sample.process
        usage = self.rows.get(key) or self.put(key, Usage())
        before = usage.last
        worked = usage.add(sample)
        if worked is not None:
            self.note_idle(key, sample.time_boottime_ns)
        if worked:
            self.waits.worked(key)
        elif worked is not None and before is not None:
            self.waits.idle(key, before.time_boottime_ns)
        return usage

    def early(self, event: EarlySample) -> None:
        """A look at a young process: a point of its curve, and no more."""
        usage = self.rows.get(event.process) or self.put(event.process, Usage())
        held = event.anon_bytes + event.file_bytes + event.shmem_bytes
        usage.curve.add(event.time_boottime_ns, held, f"{event.cpu}-{event.sequence}")
        usage.early = (*usage.early[1 - LOOKS :], event)

    def note_idle(self, key: ProcessKey, now_ns: int) -> None:
        """The idle time goes on until now, where the process is idle."""
        usage = self.rows.get(key)
        if usage is not None:
            usage.note_idle(self.waits.of(key).period(now_ns))
