"""A live run with every kind of input, and its replay."""

from __future__ import annotations

from pathlib import Path

from receiver import semconv as sc
from receiver.attribution.rules import Rule
from receiver.events import OomScope
from receiver.export import encode
from receiver.investigate.alerts import AlertQuery
from receiver.investigate.entries import RunSummary, Sighting
from receiver.investigate.history import History
from receiver.investigate.report import CrashLine, to_json
from receiver.model import NOBODY, Blind, CoreOptions, Gap, Unseen
from receiver.observe.core import Core
from receiver.observe.recording import (
    Settings,
)
from receiver.signals import LogRecord, MetricSnapshot, Span
from tests.builders import MS, WALL_OFFSET_NS, Story

ROOT = Path(__file__).parent.parent.parent
RULE = Rule(system="loader", pipeline="landing", argv="--job=*", task="{0}", run="")
SETTINGS = Settings(
    CoreOptions(exit_events=True, resource_attributes=(("team", "data"), ("tier", 2))), (RULE,)
)
KEY = ("loader of uid 1000", "landing", "--job=orders")
SIGNATURE_NOTE = "the limit was raised to 2 GiB"


def run(number: int, seconds: float) -> RunSummary:
    return RunSummary(
        ended_unix_ns=number,
        run_id=f"r{number}",
        seconds=seconds,
        failed=False,
        end="",
        peak_bytes=1,
        processes=1,
        shape="",
        outputs={},
        partitions={},
    )


class Outcome:
    """What a run gave: works, reports, and every byte of OTLP."""

    def __init__(self) -> None:
        self.works: list[str] = []
        self.otlp: list[bytes] = []
        self.metrics: list[bytes] = []
        self.reports: list[bytes] = []

    def take(self, core: Core, snapshot: MetricSnapshot | None = None) -> None:
        for signal in core.take():
            self.otlp.append(_encoded(signal))
        if snapshot is not None:
            self.metrics += [data for _, data in encode.snapshot_items(snapshot)]

    def end(self, core: Core) -> None:
        self.take(core)
        self.works = [str(e.identity) for e in core.executions._ended.values()]
        self.reports = [to_json(r) for r in core.incidents.reports.values()]


def _encoded(signal: Span | LogRecord) -> bytes:
    item = encode.log_record(signal) if isinstance(signal, LogRecord) else encode.span(signal)
    return encode.Envelope("receiver", "0", sc.SCHEMA_URL).request([(signal.resource, item)])


def loader(story: Story, *, fails: bool = True, lasts_ms: float = 50) -> None:
    worker = story.spawn(NOBODY, "python3", "load.py", "--job=orders")
    story.step(lasts_ms)
    if fails:
        story.oom(worker, scope=OomScope.CGROUP)
    story.exit(worker, signal=9 if fails else 0)
    story.tick(7)


def _earlier_runs() -> History:
    earlier = History()
    for number in range(6):
        earlier.remember(KEY, run(number, 0.1))
        earlier.remember(("other", "secret pipeline", "t"), run(number, 0.1))
    return earlier


def _sighting(signature: str) -> Sighting:
    """That an earlier kwitness met it."""
    return Sighting(
        signature=signature,
        cause="mem.cgroup_oom",
        count=5,
        first_unix_ns=1,
        last_unix_ns=2,
        last_run="r0",
        owner=1000,
    )


def _tell_of_itself(story: Story, history: History) -> None:
    """What a session is told that is no event of the kernel."""
    session = story.session
    session.unseen((Unseen("TLS (no library)", ("name_query",)),), story.now)
    session.history(history, story.now)
    session.resumed(Gap("killed", 1, 2_000_000_001, (("span", 3),)), story.now)
    session.losses({("exec", "ring_full"): 3}, story.now)
    session.blind([Blind("interrupted", story.now, story.now + MS, why="killed")], story.now + MS)


def _ask_by_alert(story: Story) -> None:
    """A failure that an alert asks for, before it would be investigated by itself."""
    running = story.spawn(NOBODY, "python3", "load.py", "--job=users")
    child = story.spawn(running, "sort")
    story.oom(running)
    story.exit(running, signal=9)  # without the alert, an investigation would begin in 0.4 s
    assert len(story.session.alert(AlertQuery(task="--job=users"), story.now)) == 1
    story.exit(child)
    story.tick(7)


def _name_functions(story: Story) -> None:
    """Of the last report."""
    last = next(reversed(story.core.incidents.reports))
    line = CrashLine(
        pid=1,
        name="x",
        signal="SIGSEGV",
        module="/lib/x.so",
        offset=1,
        address=2,
        event="0-1",
        function="main",
    )
    story.session.functions(last, (line,), story.now)


def live(path: Path) -> Outcome:
    """A run with a rule, an alert, a history and every other kind of input."""
    outcome, story = Outcome(), Story.recorded(path, SETTINGS)
    session, history, earlier = story.session, History(), _earlier_runs()
    _tell_of_itself(story, history)
    loader(story)
    outcome.otlp += map(_encoded, story._signals)
    (first,) = story.core.incidents.reports.values()
    outcome.take(story.core, session.metrics(story.now, exported=True))
    session.metrics(story.now, exported=False)
    earlier.remember_sighting(_sighting(first.signature))
    history.absorb(earlier)  # the file was busy until now
    story._signals.clear()
    loader(story)
    assert session.note(first.signature, SIGNATURE_NOTE, story.now)
    loader(story)
    _ask_by_alert(story)
    loader(story, fails=False, lasts_ms=90_000)
    _name_functions(story)
    story.session.wall_offset(WALL_OFFSET_NS + 7, story.now)
    story.finish()
    outcome.otlp += map(_encoded, story._signals)
    outcome.take(story.core, session.metrics(story.now, exported=True))
    outcome.end(story.core)
    assert story.recorder is not None
    story.recorder.close()
    return outcome
