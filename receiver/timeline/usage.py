"""What watched processes take over time, and who takes it from them: memory, CPU, storage, waiting."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque

import msgspec

from receiver.attribution.tree import Process
from receiver.calls import call_name
from receiver.events import Neighbour, ProcessKey, ProcessSample, ThreadWait, WaitObject

CURVE_POINTS = 64
STEP_BYTES = 16 << 20
NEIGHBOURS = 512
WINDOW_NS = 60_000_000_000
LOOKS = 5  # a condition must hold at so many looks in a row
KEPT_WAITS = 64
_UNINTERRUPTIBLE = 2


class Curve:
    """Growth of a value, in a bounded number of points: when there are too many, every second one goes and the step doubles.
    Its peak is exact."""

    __slots__ = ("_skip", "_step", "peak", "points")

    def __init__(self) -> None:
        self.points: list[tuple[int, int]] = []  # (boot ns, bytes)
        self.peak = 0
        self._step = 1
        self._skip = 0

    def add(self, at_ns: int, value: int) -> None:
        self.peak = max(self.peak, value)
        if self.points and abs(value - self.points[-1][1]) * 64 < max(value, STEP_BYTES):
            return  # nothing that would show on a curve
        self._skip += 1
        if self._skip < self._step:
            return
        self._skip = 0
        self.points.append((at_ns, value))
        if len(self.points) > CURVE_POINTS:
            self.points = self.points[::2]
            self._step *= 2


class Usage:
    """Of one watched process, from its samples."""

    __slots__ = ("curve", "growth_told", "idle_since_ns", "last", "pressure", "recent", "told", "waits")

    def __init__(self) -> None:
        self.curve = Curve()
        self.last: ProcessSample | None = None
        self.recent: tuple[tuple[int, int], ...] = ()  # (boot ns, resident bytes) at the last LOOKS looks
        self.pressure: dict[str, tuple[int, float]] = {}  # resource → (looks in a row, share of the last one)
        self.told: tuple[str, ...] = ()
        self.growth_told = False
        self.idle_since_ns = 0  # neither CPU nor bytes since then
        self.waits: dict[int, ThreadWait] = {}  # by thread, the latest

    def add(self, sample: ProcessSample) -> None:
        """Works out what changed since the last look."""
        rss = resident(sample)
        self.curve.add(sample.time_boottime_ns, rss)
        self.curve.peak = max(self.curve.peak, sample.peak_rss_bytes)
        self.recent = (*self.recent[1 - LOOKS :], (sample.time_boottime_ns, rss))
        last, self.last = self.last, sample
        if last is None:
            return
        interval = sample.time_boottime_ns - last.time_boottime_ns
        if interval <= 0:
            return
        worked = sample.cpu_runtime_ns - last.cpu_runtime_ns > interval // 500 or moved(sample) != moved(last)
        if worked:
            self.idle_since_ns = 0
            self.waits = {}
        elif not self.idle_since_ns:
            self.idle_since_ns = last.time_boottime_ns
        self._press("cpu", _share(sample.run_delay_ns - last.run_delay_ns, interval * max(1, sample.running_threads)), 0.3)
        periods = sample.cpu_periods - last.cpu_periods
        self._press("quota", (sample.throttled_periods - last.throttled_periods) / periods if periods > 0 else 0.0, 0.25)
        self._press("memory", _share(sample.memory_stall_ns - last.memory_stall_ns, interval), 0.2)
        self._press("disk", max(_share(sample.io_stall_ns - last.io_stall_ns, interval), 1.0 if sample.disk_threads else 0.0), 0.2)

    def _press(self, resource: str, share: float, limit: float) -> None:
        if share < limit:
            self.pressure.pop(resource, None)
        else:
            self.pressure[resource] = (self.pressure.get(resource, (0, 0.0))[0] + 1, share)

    def pressed(self) -> list[tuple[str, float]]:
        """Resources that were short at the last LOOKS looks, each told once."""
        short = [(r, min(1.0, share)) for r, (looks, share) in self.pressure.items() if looks >= LOOKS and r not in self.told]
        self.told += tuple(r for r, _ in short)
        return short


def resident(sample: ProcessSample) -> int:
    return sample.anon_bytes + sample.file_bytes + sample.shmem_bytes


def moved(sample: ProcessSample) -> int:
    return sample.read_call_bytes + sample.write_call_bytes


def _share(part: int, whole: int) -> float:
    return max(0.0, part / whole) if whole > 0 else 0.0


class Taker(msgspec.Struct, frozen=True):
    """A process that took something, by name, never by its arguments."""

    pid: int
    name: str
    growth_bytes: int
    cpu_ns: int


class Neighbours:
    """Processes that are not watched and that grew or worked lately. The one heard of least recently goes first."""

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

    def top(self, now_ns: int, *, memory_cgroup_id: int = 0, by_cpu: bool = False) -> Taker | None:
        """Who took most in the last minute: memory of one cgroup, memory of the host, or CPU."""
        best: Taker | None = None
        for key, looks in self._looks.items():
            recent = [n for n in looks if now_ns - n.time_boottime_ns <= WINDOW_NS]
            if memory_cgroup_id:
                recent = [n for n in recent if n.shares_memory_cgroup]
            if not recent:
                continue
            growth = sum(_signed(n.rss_growth_bytes) for n in recent)
            taker = Taker(key.tgid, recent[-1].comm, growth, sum(n.cpu_ns for n in recent))
            if best is None or (taker.cpu_ns > best.cpu_ns if by_cpu else taker.growth_bytes > best.growth_bytes):
                best = taker
        return best


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


_WAITS = {
    "futex": "futex", "wait4": "child", "waitid": "child", "flock": "lock", "fcntl": "lock", "nanosleep": "timer",
    "clock_nanosleep": "timer", "poll": "poll", "ppoll": "poll", "select": "poll", "pselect6": "poll", "epoll_wait": "poll",
    "epoll_pwait": "poll", "epoll_pwait2": "poll", "pause": "signal", "rt_sigsuspend": "signal", "rt_sigtimedwait": "signal",
    "sigwaitinfo": "signal",
}  # fmt: skip


def wait_of(wait: ThreadWait) -> str:
    """futex, pipe, socket, child, disk, lock, timer, poll, signal or unknown."""
    if wait.waits_on == WaitObject.PIPE:
        return "pipe"
    if wait.waits_on == WaitObject.SOCKET:
        return "socket"
    known = _WAITS.get(call_name(wait.call_number), "") if wait.call_number < 1 << 16 else ""
    if known:
        return known
    return "disk" if wait.thread_state & _UNINTERRUPTIBLE else "unknown"


def main_wait(process: Process) -> ThreadWait | None:
    """What the process as a whole waits for: its first thread's wait, or that of a thread which waits without a timeout."""
    usage = process.usage
    if usage is None or not usage.waits:
        return None
    waits = sorted(usage.waits.values(), key=lambda w: (bool(w.timed), w.thread != process.key.tgid))
    return waits[0]
