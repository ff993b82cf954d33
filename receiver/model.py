"""The values that the layers above the kernel share."""

from __future__ import annotations

import signal
from typing import Annotated, Literal

import msgspec

from receiver.events import Event, OomKill, OomMember, OomMemory, ProcessKey, Signal, SignalState
from receiver.signals import Attributes
from receiver.text.redact import Mode

NOBODY = ProcessKey(0, 0)
SHORT_NS = 10_000_000  # a process that lives shorter and does nothing notable is only counted
# the signals that ask a process to end
POLITE = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def about(event: Event) -> ProcessKey:
    """The process that an event is about: its own, a signal's target, or an OOM kill's victim."""
    if isinstance(event, Signal | SignalState):
        return event.target
    return event.victim if isinstance(event, OomKill | OomMember | OomMemory) else event.process


class Host(msgspec.Struct, frozen=True):
    """The host and the source of the events; stored in a recording's header."""

    boot_id: str
    name: str
    session: str  # of this attachment: makes event ids unique within a boot
    page_bytes: int = 4096
    source: str = "ebpf"  # or netlink: the source of the facts
    # inode, when only the processes of one pid namespace are reported; 0: all
    pid_namespace: int = 0
    # kwitness's own process, as events name it: its children are reported, too
    observer_pid: int = 0
    id: str = ""  # /etc/machine-id, in the form of semconv's host.id
    # of its interfaces, without loopback; empty unless the setting asks for it
    addresses: tuple[str, ...] = ()


Slot = tuple[str, str, str, str, str, int, int]
RunKey = tuple[str, str, str, str]
CERTAIN, PROBABLE, PARTIAL, AMBIGUOUS = 1.0, 0.9, 0.6, 0.3  # confidences; see Identity.grade
# probable, by a process that root started for its user: the claim of another user does not
# contradict it
BACKED = 0.95


class Identity(msgspec.Struct, frozen=True):
    """The work of a process. The first six fields are its names.

    `owner` is the user id that answers for it: any user can use any name, so two users' work is
    never the same work. The other fields say how it is known.
    """

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
    unreliable_exit_status: bool = False  # exit status 0 of the process that holds it means nothing
    owner: int = 0  # user id of the process that claimed it, in the kernel's first user namespace

    @property
    def grade(self) -> str:
        """The confidence of the identity.

        certain: a process that no other user could have made says so (attribution.proof), or
        kwitness started it. probable: a log file, a title, an environment or a command line says
        so, and nothing proves it. partial: the tool is known, and its name is not complete.
        ambiguous: another claim contradicts it, and that one is proven or closer.
        """
        bounds = ((CERTAIN, "certain"), (PROBABLE, "probable"), (PARTIAL, "partial"))
        return next((grade for least, grade in bounds if self.confidence >= least), "ambiguous")

    def agrees(self, other: Identity) -> bool:
        """The same work. A map index that only one of the two states is no contradiction."""
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
        """The scope of the names: equal names in different scopes are different work, with
        different ids.
        """
        return f"{self.owner} ambiguous" if self.is_ambiguous else str(self.owner)

    @property
    def slot(self) -> Slot:
        """The key of the work: the same names in the same scope are the same work."""
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


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One failure, with the kernel events that show it."""

    kind: str  # the event name
    process: ProcessKey
    time_boottime_ns: int
    sentence: str
    facts: tuple[tuple[str, str | int | float | bool], ...]
    severity: int
    evidence: tuple[str, ...]  # event ids
    origin: str = "kernel"


Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]


class CoreOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits and choices. Times in seconds."""

    process_limit: Annotated[int, msgspec.Meta(ge=1024, le=16 << 20)] = 65_536
    linger_seconds: Seconds = 1.0  # how long an ended process stays known for late events
    # without a living process, an attempt is over after this time
    task_grace_seconds: Seconds = 5.0
    run_grace_seconds: Seconds = 60.0
    heartbeat_seconds: Seconds = 60.0
    stall_seconds: Seconds = 10.0  # report a peer that has not answered for this time
    hang_seconds: Seconds = 30.0  # report a task without activity for this time
    only_commands: bool = False  # report only the processes that kwitness starts (`kwitness run`)
    # elsewhere: the orchestrator's host exports the spans of runs and tasks; this host exports
    # processes
    orchestrator: Literal["here", "elsewhere"] = "here"
    redaction: Mode = "scrub"
    # host.ip on every resource: it connects the two ends of a connection across hosts
    include_addresses: bool = False
    include_argv: bool = False  # process.command_args on spans and logs
    exit_events: bool = False  # process.exit for every end, not only for failures
    resource_attributes: Attributes = ()
    service_name: str = ""
    # OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT, characters; 0: no limit
    value_length_limit: Annotated[int, msgspec.Meta(ge=0, le=1 << 30)] = 0


GapReason = Literal["stopped", "killed", "host_restarted"]


class Gap(msgspec.Struct, frozen=True):
    """An interval in which no service observed this host, and the unsent items of the previous
    service.
    """

    reason: GapReason
    since_unix_ns: int
    until_unix_ns: int
    unsent: tuple[tuple[str, int], ...] = ()  # items by kind: span, log_record, data_point

    @property
    def seconds(self) -> float:
        return (self.until_unix_ns - self.since_unix_ns) / 1e9


class ContainerName(msgspec.Struct, frozen=True):
    """The name of a container in its cluster, from its node's kubelet."""

    id: str
    pod: str
    namespace: str
    container: str


class Blind(msgspec.Struct, frozen=True):
    """An interval in which system calls were not observed: its files, failing calls and endpoints
    are missing.
    """

    reason: Literal["late_attach", "interrupted"]
    began_ns: int  # boot time; also its key: a later value with the same one says how it ended
    until_ns: int  # 0: it has not ended
    process: ProcessKey = NOBODY  # the process that ran meanwhile; NOBODY: all watched processes
    why: str = ""


# names of the events that the hooks of system calls emit
OF_CALLS = (
    "file_opened",
    "file_closed",
    "file_changed",
    "file_totals",
    "call_failed",
    "last_failure",
    "memory_refused",
    "name_query",
    "unix_connected",
)


class Unseen(msgspec.Struct, frozen=True):
    """What is not observed at all, or for a time: nothing is concluded from its absence.

    `text` is a phrase for reports. `kinds` are the names of the events that are missing
    (`text.names.kind_name`).
    """

    text: str
    kinds: tuple[str, ...] = ()


class Watch(msgspec.Struct, frozen=True):
    """A command that kwitness itself starts: both pids identify its first fork."""

    pid: int
    parent_pid: int
    name: str
    context: RemoteContext | None = None
