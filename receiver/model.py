"""The values that layers above the kernel speak in."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from receiver.events import ProcessKey
from receiver.signals import Attributes
from receiver.text.redact import Mode

NOBODY = ProcessKey(0, 0)


class Host(msgspec.Struct, frozen=True):
    """Where and when the events come from; travels in a recording's header."""

    boot_id: str
    name: str
    session: str  # of this attachment: makes event ids unique within a boot
    page_bytes: int = 4096
    source: str = "ebpf"  # or netlink: what the facts come from
    pid_namespace: int = 0  # inode, when only the processes of one are ours to tell; 0: all
    observer_pid: int = 0  # ours, as events name it: what we start there is ours to tell, too
    id: str = ""  # /etc/machine-id, as semconv's host.id wants it
    addresses: tuple[str, ...] = ()  # of its interfaces, loopback left out; empty unless asked for


Slot = tuple[str, str, str, str, str, int, int]
RunKey = tuple[str, str, str, str]
CERTAIN, PROBABLE, PARTIAL, AMBIGUOUS = 1.0, 0.9, 0.6, 0.3  # confidences; see Identity.grade
BACKED = 0.95  # probable, by a process that root started for its user: the claim of another user does not contradict it


class Identity(msgspec.Struct, frozen=True):
    """Whose work a process does. The first six fields are its names. `owner` is the user id that answers for it: names can be
    anybody's, so two users' work is never the same work. The rest says how we know."""

    system: str
    pipeline: str
    run_id: str
    task: str
    attempt: int = 1
    map_index: int = -1  # -1: not a mapped task
    type: str = "task"
    source: str = "env"
    confidence: float = 0.0
    evidence: str = ""  # names the fact, never a value that could be a secret
    portable: bool = False  # the run id means the same on every host, so its trace is the run's own
    status_lies: bool = False  # exit status 0 of the process that holds it says nothing
    owner: int = (
        0  # user id of the process that claimed it, as the kernel's first user namespace has it
    )

    @property
    def grade(self) -> str:
        """certain: a process said so that no other user could have made (attribution.proof), or we started it. probable: a
        log file, a title, an environment or a command line says so, and nothing proves it. partial: the tool is known, the name
        is not whole. ambiguous: another claim contradicts it, and that one is proven or closer."""
        bounds = ((CERTAIN, "certain"), (PROBABLE, "probable"), (PARTIAL, "partial"))
        return next((grade for least, grade in bounds if self.confidence >= least), "ambiguous")

    def agrees(self, other: Identity) -> bool:
        """The same work; a map index that one of the two does not state is none against it."""
        if self.key[:5] != other.key[:5]:
            return False
        return self.map_index == other.map_index or -1 in (self.map_index, other.map_index)

    @property
    def key(self) -> tuple[str, str, str, str, int, int]:
        """Its names."""
        return (self.system, self.pipeline, self.run_id, self.task, self.attempt, self.map_index)

    @property
    def is_ambiguous(self) -> bool:
        return self.confidence <= AMBIGUOUS

    @property
    def scope(self) -> str:
        """Whose names these are: equal names in different scopes are different work, with different ids."""
        return f"{self.owner} ambiguous" if self.is_ambiguous else str(self.owner)

    @property
    def slot(self) -> Slot:
        """Under which it is found: the same names in the same scope are the same work."""
        return (self.scope, *self.key)

    @property
    def run_key(self) -> RunKey:
        return (self.scope, self.system, self.pipeline, self.run_id)


class RemoteContext(msgspec.Struct, frozen=True):
    """A W3C trace context that an application handed to its children."""

    trace_id: bytes
    span_id: bytes
    sampled: bool
    trace_state: str = ""


class Finding(msgspec.Struct, frozen=True):
    """One thing that went wrong, with the kernel events that show it."""

    kind: str  # the event name
    process: ProcessKey
    time_boottime_ns: int
    sentence: str
    facts: tuple[tuple[str, str | int | float | bool], ...]
    severity: int
    evidence: tuple[str, ...]  # event ids
    origin: str = "kernel"


Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]


class CoreOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds and choices. Times in seconds."""

    process_limit: Annotated[int, msgspec.Meta(ge=1024, le=16 << 20)] = 65_536
    linger_seconds: Seconds = 1.0  # how long an ended process stays known for late events
    task_grace_seconds: Seconds = 5.0  # without a living process, an attempt is over after this
    run_grace_seconds: Seconds = 60.0
    heartbeat_seconds: Seconds = 60.0
    stall_seconds: Seconds = 10.0  # a peer that owes an answer for so long is a finding
    hang_seconds: Seconds = 30.0  # a task in which nothing moves for so long is a finding
    only_commands: bool = (
        False  # work outside of the commands that we start is not ours to tell (`kwitness run`)
    )
    orchestrator: Literal["here", "elsewhere"] = (
        "here"  # elsewhere: its host sends the spans of runs and tasks; we send processes
    )
    redaction: Mode = "scrub"
    include_addresses: bool = (
        False  # host.ip on every resource: what binds the two ends of a connection across hosts
    )
    include_argv: bool = False  # process.command_args on spans and logs
    exit_events: bool = False  # process.exit for every end, not only for failures
    resource_attributes: Attributes = ()
    service_name: str = ""
    value_length_limit: Annotated[int, msgspec.Meta(ge=0, le=1 << 30)] = (
        0  # OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT, characters; 0 is none
    )


GapReason = Literal["stopped", "killed", "host_restarted"]


class Gap(msgspec.Struct, frozen=True):
    """An interval in which no service observed this host, and what the service before had not sent."""

    reason: GapReason
    since_unix_ns: int
    until_unix_ns: int
    unsent: tuple[tuple[str, int], ...] = ()  # items by kind: span, log_record, data_point

    @property
    def seconds(self) -> float:
        return (self.until_unix_ns - self.since_unix_ns) / 1e9


class ContainerName(msgspec.Struct, frozen=True):
    """What a container is called in its cluster, as its node's kubelet wrote it down."""

    id: str
    pod: str
    namespace: str
    container: str


class Blind(msgspec.Struct, frozen=True):
    """A time in which system calls were not observed: files, failing calls and endpoints of it are missing."""

    reason: Literal["late_attach", "interrupted"]
    began_ns: int  # boot time; also its name: a later value with the same one says how it ended
    until_ns: int  # 0: it goes on
    process: ProcessKey = NOBODY  # the one that ran meanwhile; nobody: all that were watched
    why: str = ""


class Watch(msgspec.Struct, frozen=True):
    """A command that kwitness itself starts: its first fork is recognised by both pids."""

    pid: int
    parent_pid: int
    name: str
    context: RemoteContext | None = None
