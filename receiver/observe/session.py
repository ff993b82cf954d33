"""The only entrance to the core: every input of a live run passes through here, and a replay gives
the core the same inputs, in the same order and through the same code (receiver.observe.replay).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from receiver.events import ProcessKey
from receiver.facts.losses import Losses, LossesByUser
from receiver.investigate.alerts import AlertQuery
from receiver.investigate.history import History
from receiver.investigate.report import CrashLine, Report
from receiver.model import Blind, ContainerName, Gap, Unseen, Watch
from receiver.observe.core import Core
from receiver.observe.recorder import Recorder
from receiver.observe.recording import FrameKind
from receiver.signals import MetricSnapshot


class Session:
    """Feeds a core, and a recorder when there is one.

    Each input is recorded before the core sees it. The entries of the history that the core used
    for it follow in a frame of their own.
    """

    def __init__(self, core: Core, recorder: Recorder | None = None) -> None:
        self.core = core
        self._recorder = recorder
        self._started_ns = 0  # boot time of the first wall clock

    def batch(self, batch: list[bytes], read_at_ns: int) -> None:
        if self._recorder:
            self._recorder.batch(batch, read_at_ns)
        self.core.feed(batch, read_at_ns)
        self._note_used(read_at_ns)

    def passed(self, times_ns: Iterable[int]) -> None:
        """Events of other processes that a recording of a command does not hold. Only in a replay:
        an investigation that is due starts at the time of the next event.
        """
        for at_ns in times_ns:
            self.core.passed(at_ns)
        self._note_used(0)

    def tick(self, now_ns: int) -> None:
        self._note(FrameKind.TICK, now_ns)
        self.core.tick(now_ns)
        self._note_used(now_ns)

    def wall_offset(self, offset_ns: int, now_ns: int) -> None:
        self._note(FrameKind.WALL_OFFSET, now_ns, offset_ns.to_bytes(8, "little", signed=True))
        self._started_ns = self._started_ns or now_ns
        self.core.set_wall_offset(offset_ns, now_ns)

    def watch(self, watch: Watch, now_ns: int) -> None:
        if self._recorder:
            self._recorder.watch(watch, now_ns)
        self.core.watch(watch)

    def losses(self, losses: Losses, now_ns: int, by_user: LossesByUser | None = None) -> None:
        """Totals since the start; `by_user`: of the losses that concern one user only."""
        rows: list[tuple[str | int, ...]] = [(*key, total) for key, total in losses.items()]
        rows += [(kind, reason, n, user) for (kind, reason, user), n in (by_user or {}).items()]
        self._note(FrameKind.LOSSES, now_ns, msgspec.json.encode(rows))
        self.core.missing.note_losses(losses, now_ns, by_user)

    def vanished(self, keys: Iterable[ProcessKey], now_ns: int) -> None:
        gone = list(keys)
        self._note(
            FrameKind.VANISHED,
            now_ns,
            msgspec.json.encode([[k.tgid, k.start_boottime_ns] for k in gone]),
        )
        self.core.unended.vanished(gone, now_ns)

    def containers(self, names: tuple[ContainerName, ...], now_ns: int) -> None:
        if self._recorder:
            self._recorder.containers(names, now_ns)
        self.core.resources.name_containers(names)

    def blind(self, times: list[Blind], now_ns: int) -> None:
        """Intervals in which system calls were not observed."""
        self._note(FrameKind.BLIND, now_ns, msgspec.json.encode(times))
        for each in times:
            self.core.missing.note_blind(each, now_ns)

    def unseen(self, parts: tuple[Unseen, ...], now_ns: int) -> None:
        """What the source cannot see on its host at all."""
        self._note(FrameKind.UNSEEN, now_ns, msgspec.json.encode(parts))
        self.core.missing.unseen = parts

    def resumed(self, gap: Gap, now_ns: int) -> None:
        """The interval before this service, and the items that the previous one did not send."""
        self._note(FrameKind.GAP, now_ns, msgspec.json.encode(gap))
        self.core.missing.resumed(gap, now_ns)

    def alert(self, query: AlertQuery, now_ns: int) -> list[Report]:
        """Investigates the running executions that an alert is about. Returns their reports."""
        self._note(FrameKind.ALERT, now_ns, msgspec.json.encode(query))
        reports = self.core.alert(query, now_ns)
        self._note_used(now_ns)
        return reports

    def history(self, history: History, now_ns: int) -> None:
        """Compares executions with earlier runs from here on. `history` may be filled later."""
        self._note(FrameKind.HISTORY, now_ns)
        self.core.history = history

    def note(self, signature: str, text: str, now_ns: int) -> bool:
        """An operator's note on an incident. Returns False if the signature is unknown."""
        self._note(FrameKind.NOTE, now_ns, msgspec.json.encode([signature, text]))
        history = self.core.history
        return history is not None and history.note(signature, text)

    def metrics(self, now_ns: int, *, exported: bool) -> MetricSnapshot:
        """The metrics of the core.

        Reading them is an input: sums of seconds depend on when their parts are added.
        """
        self._note(FrameKind.METRICS, now_ns, msgspec.json.encode(exported))
        resources = self.core.resources
        return MetricSnapshot(
            resources.resource("kwitness"),
            resources.wall(self._started_ns),
            resources.wall(now_ns),
            self.core.metrics(),
        )

    def functions(self, incident_id: str, crashes: tuple[CrashLine, ...], now_ns: int) -> None:
        """The names of functions in the crashes of a report: they come from files of the host."""
        self._note(FrameKind.FUNCTIONS, now_ns, msgspec.json.encode([incident_id, crashes]))
        self.core.incidents.name_functions(incident_id, crashes)

    def finish(self, now_ns: int) -> None:
        self._note(FrameKind.FINISH, now_ns)
        self.core.finish(now_ns)
        self._note_used(now_ns)

    def _note(self, kind: FrameKind, now_ns: int, payload: bytes = b"") -> None:
        if self._recorder:
            self._recorder.write(kind, now_ns, payload)

    def _note_used(self, now_ns: int) -> None:
        if self.core.history is not None:
            used = self.core.history.uses.take()
            if used is not None:
                self._note(FrameKind.USED, now_ns, msgspec.json.encode(used))
