"""Stories of processes, told as the kernel would: every step is wire bytes, so that the whole core
is under test."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from receiver.detect.findings import FINDINGS
from receiver.events import (
    WIRE_HASHES,
    Event,
    Exec,
    Exit,
    FileChanged,
    FileClosed,
    FileOpened,
    FileOperation,
    FileReason,
    Fork,
    ImageFlag,
    OomKill,
    OomScope,
    OpenedFlag,
    OpenFile,
    ProcessKey,
    Signal,
    Title,
    encode,
)
from receiver.investigate.report import Report
from receiver.model import NOBODY, CoreOptions, Finding, Host, Watch
from receiver.observe.core import Core
from receiver.observe.events import EVENTS
from receiver.observe.listeners import Listener
from receiver.observe.recorder import Recorder
from receiver.observe.recording import Header, Settings
from receiver.observe.recording_scope import CommandScope
from receiver.observe.session import Session
from receiver.signals import LogRecord, Span, Value
from receiver.work.execution import Execution
from receiver.work.worker import Worker

HOST = Host("00000000-0000-4000-8000-000000000001", "testhost", "5e55104e5e55")
WALL_OFFSET_NS = 1_700_000_000_000_000_000
MS = 1_000_000
SELF = ProcessKey(7, 1)


@cache
def _blank(kind: type[Event]) -> dict[str, Any]:
    """Zero or nothing for every field but those that `say` fills."""
    found = {
        f.name: {int: 0, str: "", ProcessKey: NOBODY}.get(f.type, ())
        for f in msgspec.structs.fields(kind)
    }
    return {
        name: value
        for name, value in found.items()
        if name not in ("time_boottime_ns", "sequence", "cpu")
    }


def _evicted(core: Core) -> int:
    return core.tree.drops["evicted_live"] + core.tree.drops["evicted_dead"]


def _ignore(*_: object) -> None: ...


class Calls(Listener):
    """A listener made of functions."""

    def __init__(
        self,
        *,
        execution_started: Callable[[Execution], object] = _ignore,
        execution_finished: Callable[[Execution], object] = _ignore,
        process_ended: Callable[[Worker], object] = _ignore,
        event: Callable[[Any], object] = _ignore,
        report: Callable[[str, Report], object] = _ignore,
    ) -> None:
        self._started, self._finished, self._process_ended = (
            execution_started,
            execution_finished,
            process_ended,
        )
        self._event, self._report = event, report

    def execution_started(self, execution: Execution) -> None:
        self._started(execution)

    def execution_finished(self, execution: Execution) -> None:
        self._finished(execution)

    def process_ended(self, process: Worker) -> None:
        self._process_ended(process)

    def event(self, event: Event) -> None:
        self._event(event)

    def report(self, incident_id: str, report: Report) -> None:
        self._report(incident_id, report)


class Story:
    """A clock that moves 1 ms a step, pids that count up, and a core that listens."""

    def __init__(self, options: CoreOptions | None = None, **core: Any) -> None:
        """`core`: further arguments of the core."""
        self.core = Core(HOST, options, **core)
        self.core.set_wall_offset(WALL_OFFSET_NS)
        self.recorder: Recorder | None = None
        self._session = Session(self.core)
        self.now = 1_000 * MS
        self.sequence = 0
        self.next_pid = 1000
        self.records: list[bytes] = []
        self.findings: list[Finding] = []
        self.next_open = 0
        self.opened: dict[tuple[int, int], dict[str, Any]] = {}
        self._signals: list[Span | LogRecord] = []

    @classmethod
    def recorded(cls, path: Path, settings: Settings, scope: CommandScope | None = None) -> Story:
        """One whose inputs are recorded."""
        story = cls()
        story.core = Core(HOST, settings.options, settings.rules)
        holds = "host" if scope is None else "command"
        header = Header(WIRE_HASHES, HOST, WALL_OFFSET_NS, holds, settings)
        story.recorder = Recorder(path.open("wb"), header, scope)
        story._session = Session(story.core, story.recorder)
        story.session.wall_offset(WALL_OFFSET_NS, story.now)
        return story

    @property
    def session(self) -> Session:
        if self._session.core is not self.core:  # a test has replaced it
            self._session = Session(self.core)
        return self._session

    def step(self, ms: float = 1) -> None:
        self.now += int(ms * MS)

    def say(self, kind: type[Event], **fields: Any) -> None:
        """One record, fed at once."""
        self.step()
        self.sequence += 1
        event = kind(time_boottime_ns=self.now, sequence=self.sequence, cpu=0, **fields)
        raw = encode(event)
        self.records.append(raw)
        evicted = _evicted(self.core)
        self.session.batch([raw], self.now + MS)
        emitted = self.core.take()
        found = {s.event_name for s in emitted if isinstance(s, LogRecord)} & FINDINGS.keys()
        missing = found - set(EVENTS[kind].findings)
        # a tree that is full ends the story of another process, with what that one waited for
        missing = missing if evicted == _evicted(self.core) else set()
        assert not missing, f"the row of {kind.__name__} in EVENTS does not name {missing}"
        self._signals += emitted

    def fork(
        self, parent: ProcessKey, *, comm: str = "python3", pid: int = 0, uid: int = 1000
    ) -> ProcessKey:
        self.next_pid += 1
        key = ProcessKey(pid or self.next_pid, self.now + MS)
        self.say(
            Fork,
            process=key,
            parent=parent,
            real_parent=NOBODY,
            cgroup_id=1,
            uid=uid,
            pid_namespace_pid=key.tgid,
            comm=comm,
        )
        return key

    def exec(
        self,
        key: ProcessKey,
        *argv: str,
        parent: ProcessKey = NOBODY,
        environ: tuple[str, ...] = (),
        **other: Any,
    ) -> None:
        values: dict[str, Any] = {
            "process": key,
            "parent": parent,
            "real_parent": NOBODY,
            "cgroup_id": 1,
            "memory_cgroup_id": 2,
            "stdin_inode": 0,
            "stdout_inode": 0,
            "stderr_inode": 0,
            "uid": 1000,
            "gid": 1000,
            "argc": len(argv),
            "pid_namespace_pid": key.tgid,
            "pid_namespace_inode": 1,
            "mount_namespace_inode": 2,
            "network_namespace_inode": 3,
            "stdin_kind": 0,
            "stdout_kind": 1,
            "stderr_kind": 1,
            "image_flags": 0,
            "comm": argv[0].rpartition("/")[2][:15],
            "executable": f"/usr/bin/{argv[0]}",
            "working_directory": "/work",
            "memory_cgroup": "/jobs/one",
            "argv": argv,
            "environ": environ,
        }
        self.say(Exec, **(values | other))

    def spawn(
        self,
        parent: ProcessKey,
        *argv: str,
        environ: tuple[str, ...] = (),
        uid: int = 1000,
        **other: Any,
    ) -> ProcessKey:
        key = self.fork(parent, uid=uid)
        self.exec(key, *argv, parent=parent, environ=environ, uid=uid, **other)
        return key

    def service(
        self, *argv: str, uid: int = 1000, before: str = "/usr/lib/systemd/systemd", **other: Any
    ) -> ProcessKey:
        """A program that root's service manager starts for a user:
        one exec with uid 0 before it and `uid` after it."""
        manager = self.fork(NOBODY, uid=0)
        self.exec(manager, "manager", uid=0, executable=before)
        key = self.fork(manager, uid=0)
        known: dict[str, Any] = {
            "executable": "/usr/bin/python3.11",
            "image_flags": int(ImageFlag.ROOT_OWNS),
        }
        self.exec(key, *argv, parent=manager, uid=uid, **(known | other))
        return key

    def scheduler(
        self, *, uid: int = 1000, package: OpenedFlag = OpenedFlag.ROOT_OWNS, **other: Any
    ) -> ProcessKey:
        """Airflow's, with all that proves it to be the one of `uid`."""
        key = self.service("python3", "/venv/bin/airflow", "scheduler", uid=uid, **other)
        self.opens(
            key, "/venv/lib/python3.11/site-packages/airflow/__init__.py", opened_flags=int(package)
        )
        return key

    def exit(
        self, key: ProcessKey, code: int = 0, *, signal: int = 0, after_ms: float = 50, **other: Any
    ) -> None:
        self.step(after_ms)
        values: dict[str, Any] = {
            "process": key,
            "real_parent": NOBODY,
            "user_cpu_ns": 30 * MS,
            "system_cpu_ns": 10 * MS,
            "cpu_runtime_ns": 20 * MS,
            "run_delay_ns": MS,
            "peak_rss_bytes": 5 << 20,
            "read_bytes": 4096,
            "written_bytes": 8192,
            "read_call_bytes": 100,
            "write_call_bytes": 200,
            "wait_status": signal or code << 8,
            "uid": 1000,
            "comm": "x",
            "title": "",
        }
        self.say(Exit, **(values | other))

    def signal(
        self,
        sender: ProcessKey,
        target: ProcessKey,
        number: int,
        *,
        code: int = 0,
        comm: str = "bash",
        handled: int = 0,
    ) -> None:
        self.say(
            Signal,
            sender=sender,
            target=target,
            signal=number,
            code=code,
            sender_uid=0,
            handled=handled,
            sender_comm=comm,
            target_comm="x",
        )

    def oom(
        self,
        victim: ProcessKey,
        *,
        trigger: ProcessKey | None = None,
        scope: OomScope = OomScope.CGROUP,
    ) -> None:
        self.say(
            OomKill,
            victim=victim,
            trigger=trigger or victim,
            anon_rss_bytes=60 << 20,
            file_rss_bytes=1 << 20,
            shmem_rss_bytes=0,
            limit_bytes=64 << 20 if scope else 0,
            usage_bytes=64 << 20 if scope else 0,
            host_total_bytes=8 << 30,
            host_free_bytes=1 << 30,
            memory_cgroup_id=2,
            scope=scope,
            oom_score_adj=0,
            victim_comm="python3",
            trigger_comm="java",
            memory_cgroup="/jobs" if scope else "",
            victim_cgroup="/jobs/one",
        )

    def open_file(self, key: ProcessKey, path: str, **other: Any) -> None:
        values: dict[str, Any] = {
            "process": key,
            "inode": 42,
            "position_bytes": 4096,
            "size_bytes": 4096,
            "device": 1,
            "open_flags": os.O_WRONLY,
            "descriptor": 3,
            "reason": FileReason.DEATH,
            "signal": 0,
            "file_flags": 0,
            "path": path,
        }
        self.say(OpenFile, **(values | other))

    def title(self, key: ProcessKey, title: str) -> None:
        self.say(Title, process=key, comm=title[:15], title=title)

    def command(self, *argv: str, name: str = "job") -> ProcessKey:
        """Starts a command as `kwitness run` would; SELF is us."""
        self.next_pid += 1
        self.session.watch(Watch(self.next_pid + 1, SELF.tgid, name), self.now)
        return self.spawn(SELF, *argv)

    def fact(self, kind: type[Event], key: ProcessKey, **fields: Any) -> None:
        """One record of any kind; what is not named is zero or empty."""
        self.say(kind, **(_blank(kind) | {"process": key} | fields))

    def opens(
        self,
        key: ProcessKey,
        path: str,
        mode: int = os.O_RDONLY,
        *,
        inode: int = 7,
        size: int = 0,
        **other: Any,
    ) -> int:
        """Gives the open id."""
        self.next_open += 1
        values = {
            "open_id": self.next_open,
            "inode": inode,
            "device": 1,
            "open_flags": mode,
            "size_bytes": size,
            "path": path,
        }
        self.fact(FileOpened, key, **(values | other))
        self.opened[(key.tgid, self.next_open)] = values
        return self.next_open

    def closes(
        self,
        key: ProcessKey,
        open_id: int,
        *,
        read: int = 0,
        written: int = 0,
        size: int = 0,
        **other: Any,
    ) -> None:
        values = self.opened[(key.tgid, open_id)]
        sums = {
            "open_id": open_id,
            "inode": values["inode"],
            "device": 1,
            "open_flags": values["open_flags"],
            "read_bytes": read,
            "read_calls": bool(read),
            "written_bytes": written,
            "write_calls": bool(written),
            "size_bytes": size or written,
            "last_use_boottime_ns": self.now,
        }
        self.fact(FileClosed, key, **(sums | other))

    def writes(self, key: ProcessKey, path: str, *, inode: int = 7, size: int = 100) -> None:
        """A whole output: opened, written, closed."""
        self.closes(key, self.opens(key, path, os.O_WRONLY | os.O_CREAT, inode=inode), written=size)

    def reads(self, key: ProcessKey, path: str, *, inode: int = 7, size: int = 100) -> None:
        self.closes(key, self.opens(key, path, inode=inode, size=size), read=size, size=size)

    def renames(self, key: ProcessKey, old: str, new: str) -> None:
        self.fact(FileChanged, key, operation=FileOperation.RENAME, path=old, new_path=new)

    def task(self, name: str, *, run: str = "r1", parent: ProcessKey = NOBODY) -> ProcessKey:
        """A process of an Airflow task."""
        return self.spawn(parent, name, environ=airflow(name, run=run))

    def tick(self, seconds: float = 1.0) -> None:
        self.step(seconds * 1000)
        self.session.tick(self.now)
        self._signals += self.core.take()

    def finish(self) -> None:
        self.session.finish(self.now)
        self._signals += self.core.take()

    @property
    def signals(self) -> list[Span | LogRecord]:
        return self._signals

    @property
    def spans(self) -> list[Span]:
        return [s for s in self._signals if isinstance(s, Span)]

    @property
    def logs(self) -> list[LogRecord]:
        return [s for s in self._signals if isinstance(s, LogRecord)]

    def events(self, name: str) -> list[LogRecord]:
        return [r for r in self.logs if r.event_name == name]

    def span(self, name: str) -> Span:
        found = [s for s in self.spans if s.name == name]
        assert len(found) == 1, f"{len(found)} spans named {name}"
        return found[0]


def attributes(record: Span | LogRecord) -> dict[str, Value]:
    """All of them, the shared ones, too."""
    out: dict[str, Value] = {}
    for each in record.shared:
        out |= dict(each.items)
    return out | dict(record.attributes)


def airflow(
    task: str = "load", *, dag: str = "etl", run: str = "r1", attempt: int = 1, **other: str
) -> tuple[str, ...]:
    """The environment of a subprocess of an Airflow task."""
    values = {"DAG_ID": dag, "TASK_ID": task, "DAG_RUN_ID": run, "TRY_NUMBER": str(attempt)} | other
    return tuple(f"AIRFLOW_CTX_{k}={v}" for k, v in values.items())
