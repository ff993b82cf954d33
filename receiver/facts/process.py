"""A process: its identity, its image, its parent and its exit."""

from __future__ import annotations

from typing import Self

from receiver.events import Exec, Existing, Exit, ProcessKey, PythonStack, StdioKind
from receiver.facts.ending import RUNNING
from receiver.model import RemoteContext

# A file, or a device such as /dev/null, connects nobody with whom else has it open.
_CONNECT_NOBODY = (StdioKind.FILE, StdioKind.DEVICE)


class Process:
    """What is known of one process itself. What it did is in the tables of facts.

    Mutable and owned by the tree. The image facts are those of its last exec.
    """

    __slots__ = (
        "argc",
        "argv",
        "cgroup_id",
        "comm",
        "context",
        "created",
        "end",
        "environ",
        "exec_ns",
        "execs",
        "executable",
        "exit",
        "forgotten",
        "image_flags",
        "key",
        "memory_cgroup",
        "parent",
        "parent_pid",
        "revision",
        "stack",
        "started_by",
        "stdin_inode",
        "stdout_inode",
        "stub",
        "title",
        "uid",
        "vpid",
        "working_directory",
    )

    def __init__(self, key: ProcessKey, parent: Self | None, comm: str, uid: int) -> None:
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
        # the trace context of its environment, or of its parent
        self.context: RemoteContext | None = parent.context if parent else None
        self.cgroup_id = 0
        self.vpid = 0
        self.image_flags = 0
        self.execs = 0
        self.exec_ns = 0  # when its last image began
        self.title = ""
        self.stdin_inode = 0
        self.stdout_inode = 0
        # facts.handover
        self.started_by: str = parent.started_by if parent is not None and parent.uid == uid else ""
        self.forgotten = False  # it is not in the tree any more
        self.revision = 0  # changes with its name, title and user
        self.stub = False  # created from an event about it, not from its own fork or exec
        self.exit: Exit | None = None
        # the Python frames of the thread that speaks for it, when a signal ended it
        self.stack: PythonStack | None = None
        self.end = RUNNING  # how it ended, as its exit was judged
        # process.creation.time as first exported: part of the identity, so a slewed clock must not
        # change it
        self.created = ""

    def described_anew(self) -> None:
        """Its name, its title or its user have changed."""
        self.revision += 1

    def image(self, event: Exec | Existing) -> None:
        """A new image, or that of a process that existed before the observer started."""
        self.stub = False
        self.execs += 1
        self.exec_ns = event.time_boottime_ns if type(event) is Exec else 0
        self.parent_pid = self.parent_pid or (event.real_parent.tgid or event.parent.tgid)
        self.comm, self.uid = event.comm, event.uid
        self.executable = event.executable.rstrip("/")
        self.argv = event.argv
        self.argc = event.argc or len(event.argv)
        self.environ = event.environ
        self.working_directory = event.working_directory
        self.memory_cgroup = event.memory_cgroup
        self.cgroup_id = event.cgroup_id
        self.vpid = event.pid_namespace_pid
        self.image_flags = event.image_flags
        # the fallback source gives no kinds, and only what connects
        self.stdin_inode = 0 if event.stdin_kind in _CONNECT_NOBODY else event.stdin_inode
        self.stdout_inode = 0 if event.stdout_kind in _CONNECT_NOBODY else event.stdout_inode
        self.title = ""
        self.described_anew()

    def forget(self) -> None:
        """The tree has forgotten it. Others may still refer to it, and it must not keep its
        ancestors: otherwise a chain of short generations would never be freed.
        """
        self.forgotten = True
        self.parent = None

    def ancestors(self, limit: int = 64) -> list[Self]:
        """The ancestors, from the parent upwards."""
        out: list[Self] = []
        at = self.parent
        while at is not None and len(out) < limit:
            out.append(at)
            at = at.parent
        return out

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

    @property
    def command(self) -> str:
        """The command for people, redacted."""
        return " ".join(self.argv) if self.argv else f"[{self.comm}]"
