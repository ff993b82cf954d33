"""The recording of one command holds only who the others are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from receiver.events import (
    WIRE_HASHES,
    CallFailed,
    Connection,
    ConnectionFlag,
    Event,
    Exec,
    Existing,
    Exit,
    FileOpened,
    Fork,
    NameQuery,
    OomKill,
    ProcessKey,
    Signal,
    Title,
)
from receiver.kernel.decode import decode, split
from receiver.model import NOBODY, ContainerName, CoreOptions, Watch
from receiver.observe.core import Core
from receiver.observe.recorder import Recorder
from receiver.observe.recording import (
    COMMAND_CONTENTS,
    HOST_CONTENTS,
    FrameKind,
    Header,
    Recording,
)
from receiver.observe.recording_scope import CommandScope
from receiver.observe.replay import replay
from receiver.observe.session import Session
from receiver.text.redact import Redactor
from tests.builders import HOST, SELF, WALL_OFFSET_NS, Story
from tests.recording.replays import shape

GROUP = f"/kubepods/pod1/{'a' * 64}"
STRANGER = "stranger-argument"


def tell_of_both(story: Story) -> tuple[ProcessKey, ProcessKey]:
    """The stranger, and the first process of the command that it kills in the end."""
    stranger = ProcessKey(50, 1)
    blank: dict[str, Any] = {
        "parent": SELF,
        "real_parent": NOBODY,
        "comm": "perl",
        "uid": 1001,
        "executable": "/opt/x/stranger-path/perl5.36",
    }
    story.fact(
        Existing,
        stranger,
        argv=("perl", STRANGER),
        environ=("POD_NAME=stranger-pod",),
        memory_cgroup="/stranger-group",
        **blank,
    )
    root = story.command("load.sh", "--own-argument")
    story.exec(root, "load.sh", "--own-argument", memory_cgroup=GROUP)
    child = story.spawn(root, "python3", "own-child.py")
    story.exec(stranger, "perl", STRANGER, "again", executable="/opt/x/stranger-path/perl5.36")
    story.title(stranger, "stranger-title")
    story.title(child, "own-title")
    story.opens(stranger, "/home/stranger-file")
    story.opens(child, "/home/own-file")
    story.fact(NameQuery, stranger, labels="\x08stranger\x03com")
    story.fact(CallFailed, stranger, path="stranger-call")
    for owner, local, peer in (
        (child, 40000, 5432),
        (stranger, 5432, 40000),
        (stranger, 41000, 443),
    ):
        story.fact(Connection, owner, local_port=local, peer_port=peer, stage=1)
    story.fact(
        Connection, stranger, local_port=5432, connection_flags=ConnectionFlag.LISTENER, stage=5
    )
    story.signal(stranger, child, 9)
    story.exit(child, signal=9)
    story.exit(stranger, 0, title="stranger-title")
    story.exit(root, 1)
    return stranger, root


def of_command(path: Path, *, whole: bool = False) -> tuple[Story, ProcessKey]:
    """A command beside a stranger that has arguments, a title, files, names and connections,
    and that kills it in the end."""
    story = Story(CoreOptions(only_commands=True))
    scope = None if whole else CommandScope()
    recorder = Recorder(
        path.open("wb"),
        Header(WIRE_HASHES, HOST, WALL_OFFSET_NS, "host" if whole else "command"),
        scope,
    )
    session = Session(Core(HOST, CoreOptions(only_commands=True)), recorder)
    containers = (
        ContainerName("a" * 64, "pod", "ns", "etl"),
        ContainerName("b" * 64, "other-pod", "ns", "c"),
    )
    session.containers(containers, 1)
    stranger, root = tell_of_both(story)
    session.watch(Watch(root.tgid, SELF.tgid, "job"), 1)
    session.batch(story.records, 2_000_000_000)
    session.finish(9_000_000_000)
    recorder.close()
    return story, stranger


def events_in(path: Path) -> list[Event]:
    frames = [f for f in Recording(path) if f.kind == FrameKind.BATCH]
    return [decode(raw, Redactor("off")) for frame in frames for raw in split(frame.payload)]


def test_a_recording_of_a_command_holds_only_who_the_others_are(tmp_path: Path) -> None:
    story, stranger = of_command(tmp_path / "x.kw")
    raw = (tmp_path / "x.kw").read_bytes()
    for mine in (
        b"--own-argument",
        b"own-child.py",
        b"own-title",
        b"/home/own-file",
        GROUP.encode(),
        b'"pod":"pod"',
    ):
        assert mine in raw, mine
    assert b"stranger" not in raw and b"other-pod" not in raw
    others = [e for e in events_in(tmp_path / "x.kw") if getattr(e, "process", None) == stranger]
    assert [type(e) for e in others] == [Existing, Exec, Connection, Connection, Exit]
    first = others[0]
    assert isinstance(first, Existing) and (first.executable, first.comm, first.uid) == (
        "perl5.36",
        "perl",
        1001,
    )
    assert [(e.local_port, e.peer_port) for e in others if isinstance(e, Connection)] == [
        (5432, 40000),
        (5432, 0),
    ]
    assert any(isinstance(e, Signal) and e.sender == stranger for e in events_in(tmp_path / "x.kw"))
    assert story.records


def test_its_replay_says_the_same_of_the_command(tmp_path: Path) -> None:
    of_command(tmp_path / "x.kw")
    of_command(tmp_path / "whole.kw", whole=True)
    assert b"stranger-title" in (tmp_path / "whole.kw").read_bytes()
    told = []
    for name in ("x.kw", "whole.kw"):
        recording = Recording(tmp_path / name)
        core = Core(recording.header.host, CoreOptions(only_commands=True))
        replay(Session(core), recording)
        (report,) = core.incidents.reports.values()
        told.append((shape(core.take()), report))
    assert told[0] == told[1]
    assert "bash (50)" in told[0][1].summary  # the name that the signal came with


def contents(path: Path) -> str:
    recording = Recording(path)
    recording.close()
    return recording.header.contents


def test_a_recording_says_what_it_holds(tmp_path: Path) -> None:
    of_command(tmp_path / "x.kw")
    assert contents(tmp_path / "x.kw") == COMMAND_CONTENTS
    of_command(tmp_path / "x.kw", whole=True)
    assert contents(tmp_path / "x.kw") == HOST_CONTENTS
    Recorder((tmp_path / "old.kw").open("wb"), Header(WIRE_HASHES, HOST, 0)).close()
    old = (tmp_path / "old.kw").read_bytes()
    (tmp_path / "old.kw").write_bytes(old.replace(b',"holds":""', b""))
    assert contents(tmp_path / "old.kw") == HOST_CONTENTS


def test_members_are_bounded_and_the_dead_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.observe.recording_scope.MEMBERS", 3)
    story, scope = Story(), CommandScope()
    root = story.command("sh")
    scope.watch(Watch(root.tgid, SELF.tgid, "sh"))
    children = []
    for number in range(5):
        children.append(story.spawn(root, "job", str(number)))
        story.exit(children[-1], 0)
    last = story.spawn(root, "job", "last")
    kept = [scope.keep(decode(raw, Redactor())) for raw in story.records]
    told = [e for e in kept if isinstance(e, Exec) and e.argv]
    assert [e.process for e in told] == [root, *children, last]
    assert sum(isinstance(e, Fork) for e in kept) == 7


def test_an_oom_kill_elsewhere_names_no_group(tmp_path: Path) -> None:
    story = Story()
    other = story.spawn(SELF, "other")
    story.oom(other)
    (kill,) = [
        e
        for e in (CommandScope().keep(decode(raw, Redactor())) for raw in story.records)
        if isinstance(e, OomKill)
    ]
    assert (kill.memory_cgroup, kill.victim_cgroup) == ("", "") and kill.victim == other


def test_kinds_without_a_process_of_the_command_are_counted() -> None:
    story, scope = Story(), CommandScope()
    other = story.spawn(SELF, "other")
    story.title(other, "x")
    story.opens(other, "/x")
    for raw in story.records:
        scope.keep(decode(raw, Redactor()))
    assert scope.left_out == {Title.__name__: 1, FileOpened.__name__: 1}
