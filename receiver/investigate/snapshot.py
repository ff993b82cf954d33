"""The state of one process, kept for an investigation after the tables forgot the process."""

from __future__ import annotations

import msgspec

from receiver.detect.deaths import last_partition
from receiver.events import (
    CallFailed,
    Connection,
    Crash,
    Exit,
    FileChanged,
    Holder,
    LastFailure,
    NameQuery,
    OomKill,
    OomMemory,
    OpenFile,
    ProcessKey,
    PythonStack,
    Signal,
)
from receiver.facts.ending import Ending
from receiver.facts.moments import Moments
from receiver.facts.neighbours import Competitor
from receiver.facts.peers import Peer
from receiver.facts.usage import Usage, resident
from receiver.text.printable import printable
from receiver.text.scripts import script_name
from receiver.work.children import ExitSeverity
from receiver.work.execution import Execution
from receiver.work.tables import Facts, Use
from receiver.work.worker import Worker


class ProcessSnapshot(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The state of one process at its end, or now if it still runs."""

    key: ProcessKey
    parent: ProcessKey | None
    name: str
    comm: str
    executable: str
    argv: tuple[str, ...]
    uid: int
    memory_cgroup: str
    role: str
    partition: str
    execution: Execution
    execs: int
    exec_ns: int
    exit: Exit | None
    end: Ending
    exit_severity: ExitSeverity
    signals: tuple[Signal, ...]
    oom: OomKill | None
    crash: Crash | None
    stack: PythonStack | None
    moments: Moments
    cgroup_processes: tuple[Competitor, ...]
    full_memory: OomMemory | None  # the memory in which it was OOM-killed
    open_files: tuple[OpenFile, ...]
    uses: tuple[Use, ...]
    changes: tuple[FileChanged, ...]
    calls: tuple[CallFailed, ...]
    # The oldest first; empty unless it failed, or is a fork that works for the process above it.
    last_failures: tuple[LastFailure, ...]
    holders: tuple[Holder, ...]  # who had what it was refused, or waited for
    peers: tuple[Peer, ...]
    name_failures: tuple[NameQuery, ...]
    queues: tuple[Connection, ...]
    usage: Usage | None
    stdin_inode: int
    stdout_inode: int
    findings: tuple[str, ...]
    collapsed: int

    @classmethod
    def of(
        cls, process: Worker, facts: Facts, exit_severity: ExitSeverity = ExitSeverity.SUCCESS
    ) -> ProcessSnapshot:
        assert process.execution is not None
        parent, death = process.parent, facts.deaths.of(process.key)
        files, network = facts.files.of(process.key), facts.peers.of(process.key)
        return cls(
            key=process.key,
            parent=parent.key if parent is not None else None,
            name=process.name,
            comm=process.comm,
            executable=process.executable,
            argv=process.argv,
            uid=process.uid,
            memory_cgroup=process.memory_cgroup,
            role=process.role,
            partition=last_partition(process),
            execution=process.execution,
            execs=process.execs,
            exec_ns=process.exec_ns,
            exit=process.exit,
            end=process.end,
            exit_severity=exit_severity,
            signals=facts.signals.of(process.key),
            oom=death.oom,
            crash=death.crash,
            stack=process.stack,
            moments=facts.moments.of(process.key),
            cgroup_processes=death.cgroup_processes,
            full_memory=death.memory,
            open_files=death.open_files,
            uses=tuple(files.uses.values()),
            changes=files.changes,
            calls=facts.calls.of(process.key),
            last_failures=facts.failures.of(process.key),
            holders=facts.holders.of(process.key),
            peers=tuple(network.peers.values()),
            name_failures=network.name_failures,
            queues=tuple(network.queues.values()),
            usage=facts.usage.of(process.key),
            stdin_inode=process.stdin_inode,
            stdout_inode=process.stdout_inode,
            findings=facts.reported.of(process.key),
            collapsed=facts.children.of(process.key).collapsed,
        )

    @property
    def pid(self) -> int:
        return self.key.tgid

    @property
    def who(self) -> str:
        return printable(f"{self.name} ({self.pid})")

    @property
    def start_ns(self) -> int:
        return self.key.start_boottime_ns

    @property
    def end_ns(self) -> int:
        """The time of the exit; 0 while the process runs."""
        return self.exit.time_boottime_ns if self.exit is not None else 0

    @property
    def failed(self) -> bool:
        return self.exit is not None and self.end.failed

    @property
    def peak_bytes(self) -> int:
        sampled = self.usage.curve.peak if self.usage is not None else 0
        return max(sampled, self.exit.peak_rss_bytes if self.exit is not None else 0)

    @property
    def limit_bytes(self) -> int:
        """The limit of its memory cgroup in bytes; 0 if there is no limit or no sample."""
        return (
            self.usage.last.memory_limit_bytes
            if self.usage is not None and self.usage.last is not None
            else 0
        )

    @property
    def rss_bytes(self) -> int:
        return (
            resident(self.usage.last)
            if self.usage is not None and self.usage.last is not None
            else 0
        )

    @property
    def script(self) -> str:
        """The name of the script that an interpreter runs; empty for any other program."""
        return script_name(self.name, self.argv)
