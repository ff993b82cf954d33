"""The session is the only entrance to the core: what a live run was told is recorded,
and a replay makes the same of it."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from receiver import semconv as sc
from receiver.attribution.rules import Rule
from receiver.errors import DataError
from receiver.events import WIRE_HASHES, OomScope
from receiver.export import encode
from receiver.investigate.alerts import AlertQuery
from receiver.investigate.entries import RunSummary, Sighting, Used
from receiver.investigate.history import TASKS, History
from receiver.investigate.report import CrashLine, to_json
from receiver.model import NOBODY, Blind, CoreOptions, Gap, Unseen
from receiver.observe.core import Core
from receiver.observe.recorder import Recorder, without_secrets
from receiver.observe.recording import (
    HOST_CONTENTS,
    MAGIC,
    SETTINGS_CONTENTS,
    FrameKind,
    Header,
    Recording,
    Settings,
)
from receiver.observe.recording_scope import CommandScope
from receiver.observe.replay import core_of, replay, replay_frame, steps, used_first
from receiver.observe.session import Session
from receiver.signals import LogRecord, MetricSnapshot, Span
from receiver.text.redact import Redactor
from tests.builders import HOST, MS, WALL_OFFSET_NS, Story

ROOT = Path(__file__).parent.parent
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


def live(path: Path) -> Outcome:
    """A run with a rule, an alert, a history and every other kind of input."""
    outcome, story = Outcome(), Story.recorded(path, SETTINGS)
    session, history = story.session, History()
    earlier = History()
    for number in range(6):
        earlier.remember(KEY, run(number, 0.1))
        earlier.remember(("other", "secret pipeline", "t"), run(number, 0.1))
    session.unseen((Unseen("TLS (no library)", ("name_query",)),), story.now)
    session.history(history, story.now)
    session.resumed(Gap("killed", 1, 2_000_000_001, (("span", 3),)), story.now)
    session.losses({("exec", "ring_full"): 3}, story.now)
    session.blind([Blind("interrupted", story.now, story.now + MS, why="killed")], story.now + MS)
    loader(story)
    outcome.otlp += map(_encoded, story._signals)
    (first,) = story.core.incidents.reports.values()
    outcome.take(story.core, session.metrics(story.now, exported=True))
    session.metrics(story.now, exported=False)
    earlier.remember_sighting(
        Sighting(
            signature=first.signature,
            cause="mem.cgroup_oom",
            count=5,
            first_unix_ns=1,
            last_unix_ns=2,
            last_run="r0",
            owner=1000,
        )
    )
    history.absorb(earlier)  # the file was busy until now
    story._signals.clear()
    loader(story)
    assert session.note(first.signature, SIGNATURE_NOTE, story.now)
    loader(story)
    running = story.spawn(NOBODY, "python3", "load.py", "--job=users")
    child = story.spawn(running, "sort")
    story.oom(running)
    story.exit(running, signal=9)  # without the alert, an investigation would begin in 0.4 s
    assert len(session.alert(AlertQuery(task="--job=users"), story.now)) == 1
    story.exit(child)
    story.tick(7)
    loader(story, fails=False, lasts_ms=90_000)
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
    session.functions(last, (line,), story.now)
    story.session.wall_offset(WALL_OFFSET_NS + 7, story.now)
    story.finish()
    outcome.otlp += map(_encoded, story._signals)
    outcome.take(story.core, session.metrics(story.now, exported=True))
    outcome.end(story.core)
    assert story.recorder is not None
    story.recorder.close()
    return outcome


def replayed(path: Path, without: FrameKind | None = None) -> Outcome:
    outcome, recording = Outcome(), Recording(path)
    core = core_of(recording.header)
    core.set_wall_offset(recording.header.wall_offset_ns)
    session = Session(core)
    for frame in used_first(f for f in recording if f.kind != without):
        outcome.take(core, replay_frame(session, frame))
    outcome.end(core)
    return outcome


def test_a_replay_gives_the_same_works_reports_and_otlp(tmp_path: Path) -> None:
    told, again = live(tmp_path / "x.kw"), replayed(tmp_path / "x.kw")
    assert again.works == told.works and len(told.works) == 5
    assert again.reports == told.reports
    assert again.otlp == told.otlp and len(told.otlp) > 30
    assert again.metrics == told.metrics and len(told.metrics) > 10
    assert [json.loads(r)["seen_before"] for r in told.reports] == [0, 6, 7, 0]
    assert [SIGNATURE_NOTE in r.decode() for r in told.reports] == [False, False, True, False]


MATTERS = set(FrameKind) - {  # these have tests of their own, here and in test_recording.py
    FrameKind.FINISH,
    FrameKind.WATCH,
    FrameKind.VANISHED,
    FrameKind.CONTAINERS,
    FrameKind.PASSED,
}


@pytest.mark.parametrize("kind", sorted(MATTERS), ids=lambda k: k.name)
def test_every_recorded_input_matters(tmp_path: Path, kind: FrameKind) -> None:
    told, other = live(tmp_path / "x.kw"), replayed(tmp_path / "x.kw", without=kind)
    assert (other.works, other.otlp, other.metrics, other.reports) != (
        told.works,
        told.otlp,
        told.metrics,
        told.reports,
    )


def test_only_the_used_entries_of_a_history_are_recorded(tmp_path: Path) -> None:
    live(tmp_path / "x.kw")
    raw = (tmp_path / "x.kw").read_bytes()
    assert b"secret pipeline" not in raw and SIGNATURE_NOTE.encode() in raw
    kinds = Counter(f.kind for f in Recording(tmp_path / "x.kw"))
    assert kinds[FrameKind.HISTORY] == 1 and kinds[FrameKind.USED] >= 2


def test_an_own_history_replaces_the_recorded_one(tmp_path: Path) -> None:
    live(tmp_path / "x.kw")
    recording, own = Recording(tmp_path / "x.kw"), History()
    core = core_of(recording.header)
    session = Session(core)
    session.history(own, 0)
    for _ in steps(session, recording, other_history=True):
        pass
    assert core.history is own and set(own.tasks) == {KEY, (*KEY[:2], "--job=users")}
    assert SIGNATURE_NOTE not in str(list(own.sightings.values()))


def test_other_rules_on_old_facts(tmp_path: Path) -> None:
    live(tmp_path / "x.kw")
    recording = Recording(tmp_path / "x.kw")
    other = Rule(system="mover", pipeline="{0}", argv="--job=*", task="move")
    core = core_of(recording.header, Settings(CoreOptions(), (other,)))
    replay(Session(core), recording)
    found = {(e.identity.system, e.identity.pipeline) for e in core.executions._ended.values()}
    assert found == {("mover", "--job=orders"), ("mover", "--job=users")}


def test_an_entry_that_was_evicted_and_came_back_is_recorded_again() -> None:
    history = History()
    assert history.good_runs(KEY) == []
    assert history.uses.take() == Used(runs=((KEY, ()),))
    history.remember(KEY, run(1, 1.0))
    assert history.good_runs(KEY) and history.uses.take() is None  # it follows from the inputs
    for number in range(TASKS):
        history.remember((KEY[0], "y", str(number)), run(number, 1.0))
    assert history.good_runs(KEY) == []
    assert history.uses.take() == Used(runs=((KEY, ()),))


def test_what_a_file_adds_is_recorded_at_its_next_use() -> None:
    history, earlier = History(), History()
    seen = Sighting(
        signature="abc",
        cause="oom",
        count=1,
        first_unix_ns=5,
        last_unix_ns=5,
        last_run="r9",
        owner=7,
    )
    key = seen.key
    history.saw(seen)
    assert history.uses.take() == Used(sightings=((key, None), ("abc", None)))
    earlier.remember_sighting(msgspec.structs.replace(seen, count=3, first_unix_ns=1))
    history.absorb(earlier)
    found = history.seen("abc", 7)
    assert found is not None and found.count == 4
    assert history.uses.take() == Used(sightings=((key, found),))
    other = History()
    other.restore(Used(runs=((KEY, (run(1, 1.0),)),), sightings=((key, found),)))
    assert other.seen("abc", 7) == found and len(other.good_runs(KEY)) == 1
    other.restore(Used(runs=((KEY, ()),), sightings=((key, None),)))
    assert other.seen("abc", 7) is None and other.good_runs(KEY) == []
    assert not other.fresh


def test_an_investigation_starts_at_the_time_of_an_event_that_was_left_out(tmp_path: Path) -> None:
    """A stranger's event was the next one after the delay of an investigation."""
    settings = Settings(CoreOptions(only_commands=True))
    told = []
    for name, scope in (("whole.kw", None), ("command.kw", CommandScope())):
        story = Story.recorded(tmp_path / name, settings, scope)
        stranger = story.spawn(NOBODY, "perl", "x")
        root = story.command("load.sh")
        child = story.spawn(root, "sleep")
        story.oom(root)
        story.exit(root, signal=9)
        story.step(450)
        story.title(stranger, "stranger-title")
        story.step(50)
        story.exit(child)
        story.finish()
        assert story.recorder is not None
        story.recorder.close()
        live_otlp = [_encoded(s) for s in story._signals]
        again = replayed(tmp_path / name)
        assert again.otlp == live_otlp
        told.append(live_otlp)
    assert told[0] == told[1]
    raw = (tmp_path / "command.kw").read_bytes()
    assert b"stranger" not in raw
    passed = [f for f in Recording(tmp_path / "command.kw") if f.kind == FrameKind.PASSED]
    assert [len(f.payload) for f in passed] == [8]
    assert replayed(tmp_path / "command.kw", without=FrameKind.PASSED).otlp != told[0]


def test_a_recording_says_that_it_holds_the_settings(tmp_path: Path) -> None:
    live(tmp_path / "x.kw")
    recording = Recording(tmp_path / "x.kw")
    recording.close()
    assert recording.header.contents == f"{HOST_CONTENTS}; {SETTINGS_CONTENTS}"
    assert recording.header.settings == SETTINGS


def test_recordings_of_the_version_before_are_read() -> None:
    """The golden recordings are of version 2, and their replays are compared byte for byte."""
    path = ROOT / "tests/scenarios/demo.kw"
    assert path.read_bytes().startswith(b"kwitness-recording 2\n") and MAGIC.endswith(b" 3\n")
    recording = Recording(path)
    assert recording.header.settings is None
    replay(Session(core_of(recording.header)), recording)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (b'{"options":{"of_a_later_version":1},"rules":[]}', "settings that this version does not"),
        (b'{"options":{},"rules":[{"system":"a","pipeline":"b"}]}', "settings that this version"),
        (b'{"options":{"linger_seconds":-1},"rules":[]}', "settings that this version does not"),
    ],
)
def test_settings_of_another_version_are_named(
    tmp_path: Path, settings: bytes, message: str
) -> None:
    header = (
        b'{"wires":{},"host":{"boot_id":"","name":"","session":""},"wall_offset_ns":0,"settings":'
    )
    (tmp_path / "x").write_bytes(MAGIC + header + settings + b"}\n")
    with pytest.raises(DataError, match=message):
        Recording(tmp_path / "x")


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (FrameKind.UNSEEN, b"[1]"),
        (FrameKind.GAP, b"{}"),
        (FrameKind.ALERT, b'{"from":"2024-01-01T00:00:00"}'),
        (FrameKind.USED, b'{"runs":[[["a"],[]]]}'),
        (FrameKind.NOTE, b'["a"]'),
        (FrameKind.METRICS, b"2"),
        (FrameKind.FUNCTIONS, b"[]"),
        (FrameKind.PASSED, b"1234567"),
        (FrameKind.PASSED, b"\xff" * 8),
    ],
)
def test_a_damaged_input_is_one_clear_line(tmp_path: Path, kind: FrameKind, payload: bytes) -> None:
    recorder = Recorder((tmp_path / "x").open("wb"), Header(WIRE_HASHES, HOST, 0))
    recorder.write(FrameKind.HISTORY, 1)
    recorder.write(kind, 1, payload)
    recorder.close()
    with pytest.raises(DataError, match=f"a damaged frame of kind {kind}"):
        replay(Session(Core(HOST)), Recording(tmp_path / "x"))


def test_settings_are_stored_without_secrets() -> None:
    rules = (
        Rule(system="a", pipeline="b", argv="--password=*"),
        Rule(system="a", pipeline="b", argv="--password=hunter2x*"),
        Rule(system="a", pipeline="b", executable="/opt/[a-z]*/load"),
    )
    attributes = (("db.password", "hunter2x"), ("team", "data"), ("tier", 2))
    stored = without_secrets(
        Settings(CoreOptions(resource_attributes=attributes), rules), Redactor("scrub")
    )
    assert "hunter2x" not in str(stored)
    assert [r.argv for r in stored.rules[::2]] == ["--password=*", ""]
    assert stored.rules[2] == rules[2] and "[redacted" in stored.rules[1].argv
    assert stored.options.resource_attributes[1:] == attributes[1:]


INPUTS = {
    "feed",
    "tick",
    "finish",
    "set_wall_offset",
    "watch",
    "note_losses",
    "resumed",
    "note_blind",
    "vanished",
    "alert",
    "alerted",
    "name_containers",
    "name_functions",
    "passed",
}


def inputs_of(tree: ast.AST) -> Iterator[str]:
    """Calls and assignments that change a core: `core.tick(…)`, `self.core.history = …`."""
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else []
        called = [node.func] if isinstance(node, ast.Call) else []
        for each in (*targets, *called):
            if isinstance(each, ast.Attribute):
                whose = ast.unparse(each.value)
                of_core = whose.split(".")[-1] in (
                    "core",
                    "_core",
                    "incidents",
                    "resources",
                    "missing",
                    "unended",
                )
                if of_core and (targets or each.attr in INPUTS):
                    yield ast.unparse(each)


def test_nothing_but_the_session_feeds_a_core() -> None:
    wrong = ast.parse("self.core.tick(1); observer.core.history = h; self.core.take()")
    assert set(inputs_of(wrong)) == {"self.core.tick", "observer.core.history"}
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted((ROOT / "receiver").rglob("*.py"))
        if path.parent.name != "observe"
        for name in inputs_of(ast.parse(path.read_text()))
    }
    assert found == set()


CORE = ("facts", "work", "attribution", "detect", "observe", "investigate", "synthesis")


def is_set(node: ast.expr) -> bool:
    """A set, or what `|`, `&`, `-` and `^` make of sets and keys."""
    if isinstance(node, ast.BinOp):
        return (
            is_set(node.left) or is_set(node.right) or _is_keys(node.left) or _is_keys(node.right)
        )
    called = node.func if isinstance(node, ast.Call) else None
    made = isinstance(called, ast.Name) and called.id in ("set", "frozenset")
    return made or isinstance(node, ast.Set | ast.SetComp)


def _is_keys(node: ast.expr) -> bool:
    called = node.func if isinstance(node, ast.Call) else None
    return isinstance(called, ast.Attribute) and called.attr in ("keys", "items")


def walks_over_sets(tree: ast.AST) -> list[str]:
    loops = [n for n in ast.walk(tree) if isinstance(n, ast.For | ast.comprehension)]
    return [ast.unparse(n.iter) for n in loops if is_set(n.iter)]


def test_the_core_walks_over_no_set() -> None:
    """The order of a set of texts is another one in each process, so a replay would
    give other bytes."""
    assert walks_over_sets(ast.parse("for k in a.keys() | b.keys(): pass")) == [
        "a.keys() | b.keys()"
    ]
    found = {
        str(path.relative_to(ROOT)): walks
        for room in CORE
        for path in sorted((ROOT / "receiver" / room).rglob("*.py"))
        if (walks := walks_over_sets(ast.parse(path.read_text())))
    }
    assert found == {}
