"""What strace saw: the processes of a run, their signals, ends, bytes and failed calls."""

from __future__ import annotations

import os
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable

import msgspec

# Lines of `strace -f -ttt -y --pidns-translation -s 512`: PID TIME EVENT
_LINE = re.compile(r"(\d+) +(\d+\.\d+) (.*)")
_CALL = re.compile(r"(\w+)\((.*)\) += (-?\d+|\?)(?:<(.*?)>)?(?: (E\w+))?.*")
_UNFINISHED = re.compile(r"(\w+)\((.*) <unfinished \.\.\.>")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_SIGNAL = re.compile(r"--- (SIG\w+) \{si_signo=\w+, si_code=(\w+)(?:, si_pid=(\d+))?")
_EXITED = re.compile(r"\+\+\+ exited with (\d+) \+\+\+")
_KILLED = re.compile(r"\+\+\+ killed by (SIG\w+)")
_DESCRIPTOR = re.compile(r"-?\d+<(.*?)>(?:, |$)")
# a pid of another namespace, and what it is here
_TRANSLATED = re.compile(r"-?\d+ /\* (-?\d+) in strace's PID NS \*/")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_BELOW = re.compile(r'(?:AT_FDCWD|-?\d+)<(/[^>]*)>, "((?:[^"\\]|\\.)*)"')  # a path with its folder
_STOPPED = re.compile(r"--- stopped by (SIG\w+) ---")
_ENDPOINT = re.compile(
    r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"'
)
# those that the kernel counts as bytes of write(2) and read(2): not send(2) and recv(2)
WRITES = frozenset(("write", "pwrite64", "writev", "pwritev", "pwritev2"))
READS = frozenset(("read", "pread64", "readv", "preadv", "preadv2"))
CLONES = frozenset(("clone", "clone3", "fork", "vfork"))
TRACED = (
    "%process,%file,%signal,%network,read,write,pread64,pwrite64,readv,writev,preadv,pwritev,"
    "sendfile,copy_file_range,splice,close,dup,dup2,dup3,fcntl,flock,ftruncate,inotify_add_watch,"
    "inotify_init1,mmap,semop,bind,fsync"
)


class Sent(msgspec.Struct, frozen=True):
    """A signal as its target received it."""

    at: float
    name: str
    code: str  # SI_USER, SI_KERNEL …
    sender: int


class Failed(msgspec.Struct, frozen=True):
    at: float
    call: str
    error: str
    path: str


class Life(msgspec.Struct):
    """One process; its threads are joined into it."""

    pid: int
    parent: int = 0
    began: float = 0.0
    ended: float = 0.0
    code: int | None = None  # exit status
    killed_by: str = ""
    programs: list[list[str]] = msgspec.field(default_factory=list)
    signals: list[Sent] = msgspec.field(default_factory=list)
    read: int = 0
    written: int = 0
    read_of: dict[str, int] = msgspec.field(default_factory=lambda: defaultdict(int))
    written_to: dict[str, int] = msgspec.field(default_factory=lambda: defaultdict(int))
    opened_to_write: set[str] = msgspec.field(default_factory=set)
    opens_to_write: int = 0  # a removed file and a new one have one path
    failures: list[Failed] = msgspec.field(default_factory=list)
    threads: set[int] = msgspec.field(default_factory=set)
    threads_at_most: int = 1
    connected: dict[str, list[str]] = msgspec.field(default_factory=dict)  # endpoint to errors
    stops: list[Sent] = msgspec.field(default_factory=list)

    @property
    def names(self) -> set[str]:
        """Words that name it: of its programs, their interpreters and scripts."""
        found: set[str] = set()
        for argv in self.programs:
            found |= {word.rpartition("/")[2] for word in argv}
            found.add(os.path.realpath(argv[0]).rpartition("/")[2])
        return found

    def take(self, thread: Life) -> None:
        """What was noted of a thread before it was known to be one."""
        self.signals += thread.signals
        self.failures += thread.failures
        self.opened_to_write |= thread.opened_to_write
        self.opens_to_write += thread.opens_to_write
        for endpoint, errors in thread.connected.items():
            self.connected.setdefault(endpoint, []).extend(errors)
        self.read += thread.read
        self.written += thread.written
        for mine, other in (
            (self.read_of, thread.read_of),
            (self.written_to, thread.written_to),
        ):
            for path, count in other.items():
                mine[path] += count

    def lasted(self) -> float:
        return self.ended - self.began if self.ended else 0.0


class Witness(msgspec.Struct):
    lives: dict[int, Life] = msgspec.field(default_factory=dict)
    kills: list[tuple[float, int, int, str]] = msgspec.field(default_factory=list)
    removed: dict[str, tuple[float, int]] = msgspec.field(default_factory=dict)

    def of(self, pid: int) -> Life | None:
        return self.lives.get(pid)


def read(lines: Iterable[str], root: int, root_began: float) -> Witness:
    """The lives of the process `root` and of those below it."""
    witness = Witness()
    witness.lives[root] = Life(pid=root, began=root_began)
    owner: dict[int, int] = {root: root}  # thread to process
    open_calls: dict[int, tuple[str, str]] = {}
    for line in lines:
        if (match := _LINE.fullmatch(_here(line.rstrip("\n")))) is None:
            continue
        tid, at, what = int(match[1]), float(match[2]), match[3]
        pid = owner.setdefault(tid, tid)
        life = witness.lives.setdefault(pid, Life(pid=pid, began=at))
        if unfinished := _UNFINISHED.fullmatch(what):
            open_calls[tid] = (unfinished[1], unfinished[2])
            continue
        if resumed := _RESUMED.fullmatch(what):
            name, start = open_calls.pop(tid, (resumed[1], ""))
            what = f"{name}({start}{resumed[2]}"
        _note(witness, life, owner, tid, at, what)
    return witness


def _here(line: str) -> str:
    return _TRANSLATED.sub(r"\1", line) if "PID NS" in line else line


def _note(
    witness: Witness, life: Life, owner: dict[int, int], tid: int, at: float, what: str
) -> None:
    if match := _SIGNAL.match(what):
        life.signals.append(Sent(at, match[1], match[2], int(match[3] or 0)))
    elif match := _STOPPED.match(what):
        life.stops.append(Sent(at, match[1], "", 0))
    elif match := _EXITED.match(what):
        life.threads.discard(tid)
        if tid == life.pid:
            life.code = int(match[1])
        life.ended = at
    elif match := _KILLED.match(what):
        life.killed_by, life.ended = match[1], at
    elif match := _CALL.fullmatch(what):
        _called(witness, life, owner, at, match)


def _called(
    witness: Witness, life: Life, owner: dict[int, int], at: float, match: re.Match[str]
) -> None:
    name, arguments, result, error = match[1], match[2], match[3], match[5] or ""
    value = int(result) if result != "?" else -1
    if name == "connect" and (to := _ENDPOINT.search(arguments)):
        life.connected.setdefault(f"{to[2]}:{to[1]}", []).append(error)
    if error:
        if name not in ("wait4", "waitid") and not error.startswith("ERESTART"):
            life.failures.append(Failed(at, name, error, _path(arguments)))
        return
    if name in CLONES and value > 0:
        if "CLONE_THREAD" in arguments:
            owner[value] = life.pid
            life.threads.add(value)
            life.threads_at_most = max(life.threads_at_most, 1 + len(life.threads))
            if early := witness.lives.pop(value, None):  # it ran before clone(2) returned
                life.take(early)
        else:
            child = witness.lives.setdefault(value, Life(pid=value, began=at))
            child.parent, child.began = life.pid, min(child.began, at)
            child.programs = child.programs or [*life.programs[-1:]]
    elif name in ("execve", "execveat") and value == 0:
        life.programs.append(_argv(arguments))
    elif name in ("kill", "tgkill", "tkill") and value == 0:
        words = arguments.split(", ")
        target = int(words[0]) if words[0].lstrip("-").isdigit() else 0
        witness.kills.append((at, life.pid, target, words[-1]))
    elif name in ("open", "openat", "openat2", "creat") and _writes(name, arguments):
        life.opened_to_write.add(match[4] or _path(arguments))
        life.opens_to_write += 1
    elif name in WRITES and value > 0:
        life.written += value
        life.written_to[_file(arguments)] += value
    elif name in READS and value > 0:
        life.read += value
        life.read_of[_file(arguments)] += value
    elif name in ("sendfile", "copy_file_range") and value > 0:
        life.read += value
        life.written += value
        files = _DESCRIPTOR.findall(arguments)
        if len(files) > 1:
            life.written_to[files[0 if name == "sendfile" else 1]] += value
    elif name in ("unlink", "unlinkat", "rmdir", "rename", "renameat", "renameat2"):
        witness.removed[_path(arguments)] = (at, life.pid)


def _writes(name: str, arguments: str) -> bool:
    return name == "creat" or "O_WRONLY" in arguments or "O_RDWR" in arguments


def _file(arguments: str) -> str:
    match = _DESCRIPTOR.match(arguments)
    return match[1] if match else ""


def _path(arguments: str) -> str:
    """Whole, where the line says what it is relative to."""
    if below := _BELOW.match(arguments):
        return below[2] if below[2].startswith("/") else f"{below[1].rstrip('/')}/{below[2]}"
    match = _QUOTED.search(arguments)
    return match[1] if match else _file(arguments)


def _argv(arguments: str) -> list[str]:
    inside = arguments.partition("[")[2].partition("]")[0]
    program = _path(arguments)
    try:
        return [program, *shlex.split(inside.replace(",", " "))]
    except ValueError:
        return [program]
