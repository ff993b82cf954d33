"""Repeated failures: the first is a record at once, and the later ones are one record a minute with
their count.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable

import msgspec

from receiver import semconv as sc
from receiver.events import ProcessKey
from receiver.model import Finding
from receiver.observe.files import EmitFinding
from receiver.units import SECOND
from receiver.work.worker import Worker

WINDOW_NS = 60 * SECOND
# kinds of failures of one process, by endpoint; beyond these, each error is one kind for all
# further endpoints
KINDS = 64
PROCESSES = 1024
Kind = tuple[object, ...]  # endpoint and error, or what else makes two failures the same


class Repeat(msgspec.Struct, eq=False):
    """Failures of one kind since the last record of them. Mutable."""

    process: Worker
    count: int = 0
    first_ns: int = 0
    last: Finding | None = None

    def add(self, finding: Finding) -> None:
        self.count += 1
        self.first_ns = self.first_ns or finding.time_boottime_ns
        self.last = finding


class Repeats:
    """`report` takes the first failure of a kind, which is a finding. `repeat` takes records of
    later ones, which change only its count.

    Past the bound, the process that failed first is evicted, with a last record. `drops` counts
    evicted processes that are alive.
    """

    def __init__(self, report: EmitFinding, repeat: EmitFinding) -> None:
        self.drops: Counter[str] = Counter()
        self._report = report
        self._repeat = repeat
        self._of: OrderedDict[ProcessKey, dict[Kind, Repeat]] = OrderedDict()
        self._grown: dict[int, Repeat] = {}  # kinds with an unreported count, by identity

    def kind(self, process: Worker, endpoint: object, error: str) -> Kind:
        """The failures that are counted together: (endpoint, error), and past KINDS of these for
        one process (None, error).
        """
        known = self._of.get(process.key, {})
        return (
            (endpoint, error) if (endpoint, error) in known or len(known) < KINDS else (None, error)
        )

    def knows(self, process: Worker, kind: Kind) -> bool:
        """Whether it has a record already."""
        return kind in self._of.get(process.key, {})

    def begin(self, process: Worker, kind: Kind) -> None:
        """The caller has made the first record itself."""
        self._of.setdefault(process.key, {})[kind] = Repeat(process)
        if len(self._of) > PROCESSES:
            _, oldest = self._of.popitem(last=False)
            self.drops["forgotten_failures"] += any(
                repeat.process.exit is None for repeat in oldest.values()
            )
            self._flush(oldest.values())

    def add(self, process: Worker, kind: Kind, finding: Finding) -> None:
        """Counts one more failure."""
        known = self._of.get(process.key, {}).get(kind)
        if known is None:
            self.begin(process, kind)
            self._report(process, finding)
            return
        known.add(finding)
        self._grown[id(known)] = known

    def tick(self, now_ns: int) -> None:
        self._flush([r for r in self._grown.values() if now_ns - r.first_ns >= WINDOW_NS])

    def process_ended(self, process: Worker) -> None:
        """Reports the rest of its counts.

        It stays known: its last failures are in another ring buffer and may be read after its end.
        """
        self._flush(self._of.get(process.key, {}).values())

    def forget(self, key: ProcessKey) -> None:
        self._flush(self._of.pop(key, {}).values())

    def finish(self) -> None:
        self._flush(list(self._grown.values()))

    def _flush(self, repeats: Iterable[Repeat]) -> None:
        for repeat in repeats:
            if repeat.last is not None:
                finding = counted(
                    repeat.last, repeat.count, repeat.first_ns, repeat.last.time_boottime_ns
                )
                self._grown.pop(id(repeat), None)
                repeat.count, repeat.first_ns, repeat.last = 0, 0, None
                self._repeat(repeat.process, finding)


def counted(finding: Finding, count: int, first_ns: int, last_ns: int) -> Finding:
    """One record for `count` failures, of which `finding` is one: their number, and the first and
    last time. Its time is that of the last one.
    """
    if count < 2:
        return finding
    seconds = (last_ns - first_ns) / SECOND
    return msgspec.structs.replace(
        finding,
        time_boottime_ns=last_ns,
        sentence=f"{finding.sentence} It is one of {count} such failures within {seconds:.1f} s.",
        facts=(
            *finding.facts,
            (sc.PIPELINE_REPEAT_COUNT, count),
            (sc.PIPELINE_REPEAT_DURATION, seconds),
        ),
    )
