"""The process tree, keyed by (tgid, start time), bounded, and tolerant of events that are lost or
late.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from receiver.events import (
    Exec,
    Existing,
    Exit,
    Fork,
    ImageFlag,
    ProcessKey,
    Title,
)
from receiver.facts.ending import RUNNING
from receiver.facts.handover import handed_over
from receiver.model import NOBODY, Identity, RemoteContext

if TYPE_CHECKING:
    from receiver.work.execution import Execution

KEPT_FAILED_CHILDREN = 64


class Process:
    """What is known of one process.

    Mutable and owned by the tree. The image facts are those of its last exec.
    """

    __slots__ = (
        "argc",
        "argv",
        "block",
        "cgroup_id",
        "comm",
        "context",
        "created",
        "end",
        "environ",
        "exec_ns",
        "execs",
        "executable",
        "execution",
        "exit",
        "expects",
        "failed_children",
        "findings",
        "folded",
        "grade",
        "image_flags",
        "key",
        "last_child",
        "memory_cgroup",
        "notes",
        "package_owner",
        "parent",
        "parent_pid",
        "partition",
        "program_of",
        "released",
        "role",
        "spanned",
        "started_by",
        "stdin_inode",
        "stdout_inode",
        "steps",
        "stub",
        "title",
        "uid",
        "unnamed",
        "vpid",
        "watched_ns",
        "working_directory",
    )

    def __init__(self, key: ProcessKey, parent: Process | None, comm: str, uid: int) -> None:
        self.key = key
        self.parent = parent
        self.parent_pid = parent.key.tgid if parent else 0  # stays when the parent is evicted
        self.comm = comm
        self.uid = uid
        self.executable: str = parent.executable if parent else ""
        self.argv: tuple[str, ...] = parent.argv if parent else ()
        self.argc: int = parent.argc if parent else 0
        self.working_directory: str = parent.working_directory if parent else ""
        self.memory_cgroup: str = parent.memory_cgroup if parent else ""
        self.environ: tuple[str, ...] = ()
        self.context: RemoteContext | None = parent.context if parent else None
        self.cgroup_id = 0
        self.vpid = 0
        self.watched_ns = 0  # since when its system calls are observed; 0: they are not
        self.image_flags = 0
        self.execs = 0
        self.exec_ns = 0  # when its last image began
        self.title = ""
        self.stdin_inode = 0
        self.stdout_inode = 0
        self.execution: Execution | None = None  # the innermost execution; its `outer` ones follow
        # by thread: the thread's own work, where a process does several things
        self.steps: dict[int, Execution] = {}
        self.expects: Identity | None = None  # the work of the next process that it forks
        self.role = ""  # its role in its framework: "airflow scheduler", "spark executor", …
        # children whose work their framework has not named yet
        self.unnamed: tuple[Process, ...] = ()
        self.notes: dict[str, str] = {}  # what recognisers remember of it, a few words
        # bindings that it outlived
        self.released: tuple[object, ...] = parent.released if parent else ()
        # attribution.handover
        self.started_by: str = parent.started_by if parent is not None and parent.uid == uid else ""
        # the system whose program its own image is, by the command line at exec
        self.program_of = ""
        # the owner of that program's package, from the opened files: "trusted", "third"; empty: not
        # seen
        self.package_owner = ""
        self.partition = ""  # the last data partition that it touched, as `key=value`
        self.stub = False  # created from an event about it, not from its own fork or exec
        self.exit: Exit | None = None
        self.end = RUNNING  # how it ended, as its exit was judged
        self.last_child: Process | None = None  # the child that ended last, and its grade
        # these counts stay after the children leave the tree: the parent may run for hours
        self.failed_children: tuple[Process, ...] = ()
        self.grade = 0  # detect.masked.Grade, once it has ended
        self.findings: tuple[str, ...] = ()
        self.folded = 0  # children without a span of their own
        self.spanned = False  # a span names it as its parent, or is its own span
        # process.creation.time as first exported: part of the identity, so a slewed clock must not
        # change it
        self.created = ""
        self.block: object = None  # synthesis keeps the encoded attributes here

    @property
    def name(self) -> str:
        """The base name of the executable; the comm where there is no such file (memfd) or no exec
        was seen.
        """
        return self.executable.rpartition("/")[2] or self.comm

    def is_program(self, path: str) -> bool:
        """Whether it is its executable, or the script of its interpreter: these are read, but they
        are no inputs.
        """
        script = next((a for a in self.argv[1:] if not a.startswith("-")), "")
        return path in (self.executable, script)

    def working_for(self, thread: int, path: str = "") -> Execution | None:
        """The work of one of its threads.

        This is the thread's own step. For a thread of a pool, it is the step that the path names,
        else the step that began last. A process without steps gives its own work.
        """
        if not self.steps:
            return self.execution
        if thread in self.steps:
            return self.steps[thread]
        name = path.rpartition("/")[2]
        return next(
            (s for s in self.steps.values() if s.identity.task in name),
            list(self.steps.values())[-1],
        )

    @property
    def command(self) -> str:
        """The command for people, redacted."""
        return " ".join(self.argv) if self.argv else f"[{self.comm}]"


class ProcessTree:
    """Applies lifecycle events. `drops` counts the events that could not be applied, by reason."""

    def __init__(
        self,
        limit: int,
        linger_ns: int,
        forget: Callable[[ProcessKey], None] = lambda _: None,
    ) -> None:
        """`forget` frees what the tables hold of a process that the tree forgets."""
        self.limit = limit
        self._forget_facts = forget
        self.linger_ns = linger_ns
        self.drops: Counter[str] = Counter()
        self._processes: dict[ProcessKey, Process] = {}
        self._dead: deque[Process] = deque()  # in order of their exits
        # evicted while alive; callers that count living processes take them from here
        self.forgotten: list[Process] = []

    def __len__(self) -> int:
        return len(self._processes)

    def get(self, key: ProcessKey) -> Process | None:
        return self._processes.get(key)

    def processes(self) -> list[Process]:
        return list(self._processes.values())

    def fork(self, event: Fork) -> Process:
        """The creator is the parent that counts: re-parenting does not change the work of a
        process.
        """
        known = self._processes.get(event.process)
        if known is not None and not known.stub:
            return known  # the iterator reported it first
        parent = self._processes.get(event.parent)
        if known is None:
            known = self._add(Process(event.process, parent, event.comm, event.uid))
        else:
            if parent is not None:
                known.parent, known.context = parent, known.context or parent.context
            known.comm, known.uid, known.block = known.comm or event.comm, event.uid, None
            known.started_by = (
                parent.started_by if parent is not None and parent.uid == event.uid else ""
            )
        known.stub = False
        known.parent_pid = event.parent.tgid
        known.cgroup_id = event.cgroup_id
        known.vpid = event.pid_namespace_pid
        return known

    def image(self, event: Exec | Existing) -> Process:
        """A new image in a known process, or in one that existed before the observer started."""
        process = self._processes.get(event.process)
        if process is None:
            parent = event.real_parent if event.real_parent != NOBODY else event.parent
            process = self._add(
                Process(event.process, self._processes.get(parent), event.comm, event.uid)
            )
        elif type(event) is Existing and process.execs:
            return process  # live events are more recent
        elif process.uid != event.uid or process.stub:  # the user of a stub is not known
            known = type(event) is Exec and not process.stub
            process.started_by = (
                handed_over(process.uid, process.executable, event.executable) if known else ""
            )
        process.stub = False
        process.program_of = process.package_owner = ""
        process.execs += 1
        process.exec_ns = event.time_boottime_ns if type(event) is Exec else 0
        process.parent_pid = process.parent_pid or (event.real_parent.tgid or event.parent.tgid)
        process.comm, process.uid = event.comm, event.uid
        process.executable = event.executable.rstrip("/")
        process.argv = event.argv
        process.argc = event.argc or len(event.argv)
        process.environ = event.environ
        process.working_directory = event.working_directory
        process.memory_cgroup = event.memory_cgroup
        process.cgroup_id = event.cgroup_id
        process.vpid = event.pid_namespace_pid
        process.image_flags = event.image_flags
        process.stdin_inode, process.stdout_inode = event.stdin_inode, event.stdout_inode
        process.title = ""
        process.block = None
        return process

    def adopt_parents(self, events: list[Existing]) -> None:
        """Links processes that existed before the observer started: the iterator lists them by pid,
        not parents first.
        """
        for event in events:
            process = self._processes.get(event.process)
            parent = event.real_parent if event.real_parent != NOBODY else event.parent
            if process is not None and process.parent is None:
                process.parent = self._processes.get(parent)

    def title(self, event: Title) -> Process:
        """Importing setproctitle sets the comm to a part of argv[0]: that is no title."""
        process = self.ensure(event.process, event.comm)
        process.comm = event.comm
        first = process.argv[0] if process.argv else ""
        if event.title and event.title != first and not first.startswith(event.title):
            process.title = event.title
            process.block = None
        return process

    def exited(self, event: Exit) -> Process | None:
        """None for a second exit of one process (older kernels can report it twice)."""
        process = self.ensure(event.process, event.comm, event.real_parent)
        if process.exit is not None:
            self.drops["second_exit"] += 1
            return None
        process.exit = event
        if (
            event.title
            and process.argv
            and event.title != process.argv[0]
            and not process.image_flags & ImageFlag.ARGV_UNREADABLE
        ):
            process.title = event.title
            process.block = None
        self._dead.append(process)
        return process

    def ensure(self, key: ProcessKey, comm: str, parent: ProcessKey = NOBODY) -> Process:
        """The process, or a stub of it: it existed before the observer started, or its fork event
        was lost.
        """
        process = self._processes.get(key)
        if process is None:
            process = self._add(Process(key, self._processes.get(parent), comm, 0))
            process.stub = True
            self.drops["stub"] += 1
        return process

    def _add(self, process: Process) -> Process:
        if len(self._processes) >= self.limit:
            self._evict()
        self._processes[process.key] = process
        return process

    def _evict(self) -> None:
        """Evicts from a full tree: the oldest ended process, else the oldest of all."""
        if self._dead:
            victim = self._dead.popleft()
            self.drops["evicted_dead"] += 1
        else:
            victim = next(iter(self._processes.values()))
            self.drops["evicted_live"] += 1
            self.forgotten.append(victim)
        self._forget(victim)

    def _forget(self, process: Process) -> None:
        self._processes.pop(process.key, None)
        self._forget_facts(process.key)
        process.steps = {}
        process.last_child = None
        process.unnamed = ()
        process.parent = None  # otherwise a chain of short generations would never be freed

    def vanished(self, key: ProcessKey) -> Process | None:
        """Removes a process whose exit event was lost and that does not exist any more.

        None when its exit arrived after all.
        """
        process = self._processes.get(key)
        if process is None or process.exit is not None:
            return None
        self.drops["vanished"] += 1
        del self._processes[key]
        return process

    def sweep(self, now_ns: int) -> None:
        """Removes processes that ended more than `linger_ns` ago; until then, late events still
        find them.
        """
        while self._dead:
            exit_event = self._dead[0].exit
            if exit_event is not None and exit_event.time_boottime_ns + self.linger_ns > now_ns:
                return
            self._forget(self._dead.popleft())


def ancestors(process: Process, limit: int = 64) -> list[Process]:
    """The ancestors, from the parent upwards."""
    out: list[Process] = []
    at = process.parent
    while at is not None and len(out) < limit:
        out.append(at)
        at = at.parent
    return out
