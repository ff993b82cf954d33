"""A live source whose events tests compare with what they did themselves.
Only the test's own processes are looked at."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import pytest

from receiver.attribution.declared import DECLARED
from receiver.events import Event, Fork, ProcessKey
from receiver.kernel.decode import decode
from receiver.kernel.source import LiveSource
from receiver.kernel.source_config import SourceConfig
from receiver.text.redact import Redactor
from tests.live.serving import Service

E = TypeVar("E", bound=Event)
Door = Literal["auto", "fexit", "sys_exit"]
DOOR = msgspec.convert(os.environ.get("KWITNESS_DOOR", "auto"), Door)  # tools/kernels.sh tries both
V1, V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")


class Witness:
    """Drains on demand; `of` gives the events of one process and what it forked."""

    def __init__(
        self, config: SourceConfig | None = None, source: LiveSource | None = None
    ) -> None:
        self.source = source or LiveSource(
            msgspec.structs.replace(config or SourceConfig(), syscall_hook=DOOR), DECLARED.capture
        )
        self.events: list[Event] = []

    def drain(self) -> list[Event]:
        more = True
        while more:
            batch, more = self.source.drain()
            self.events += [decode(raw, Redactor("off")) for raw in batch]
        return self.events

    def all(self, kind: type[E]) -> list[E]:
        return [e for e in self.drain() if isinstance(e, kind)]

    def of(self, pid: int, kind: type[E]) -> list[E]:
        """By pid: for one process, or one process and a signal's or an OOM kill's victim."""
        names = ("process", "target", "victim")
        return [
            e
            for e in self.all(kind)
            if any(getattr(e, n, ProcessKey(-1, 0)).tgid == pid for n in names)
        ]

    def one(self, pid: int, kind: type[E]) -> E:
        found = self.of(pid, kind)
        assert len(found) == 1, f"{len(found)} {kind.__name__} of {pid}"
        return found[0]

    def descendants(self, pid: int) -> set[int]:
        found = {pid}
        for fork in self.all(Fork):
            if fork.parent.tgid in found:
                found.add(fork.process.tgid)
        return found - {pid}


@pytest.fixture(scope="session", autouse=True)
def shared_source() -> Iterator[LiveSource | None]:
    """One attachment for all tests where loading takes long (an emulated machine);
    opened before descriptors are counted."""
    if not os.environ.get("KWITNESS_SHARED_SOURCE"):
        yield None
        return
    source = LiveSource(SourceConfig(syscall_hook=DOOR), DECLARED.capture)
    source.watch([])
    yield source
    source.close()


@pytest.fixture
def witness(live: None, shared_source: LiveSource | None) -> Iterator[Witness]:
    found = Witness(source=shared_source)
    if shared_source is None:
        yield found
        found.source.close()
    else:
        found.drain()
        found.events.clear()
        yield found


@pytest.fixture
def memory_cgroup(live: None) -> Iterator[Path]:
    """A memory cgroup of the test's own, 48 MiB, on v1 or v2."""
    v1 = (V1 / "memory.limit_in_bytes").exists()
    group = (V1 if v1 else V2) / f"kwitness-test-{os.getpid()}"
    if not v1 and "memory" not in (V2 / "cgroup.controllers").read_text().split():
        pytest.skip("no memory controller in this cgroup hierarchy")
    if not v1:
        (V2 / "cgroup.subtree_control").write_text("+memory")
    group.mkdir()
    (group / ("memory.limit_in_bytes" if v1 else "memory.max")).write_text(str(48 << 20))
    yield group
    for _ in range(100):  # the kernel empties it a moment after the last exit
        try:
            group.rmdir()
            return
        except OSError:
            time.sleep(0.02)
    group.rmdir()


def python(code: str, *arguments: str, **options: object) -> subprocess.Popen[str]:
    """A Python child that starts fast and is the test's own."""
    command = [sys.executable, "-I", "-S", "-c", code, *arguments]
    start: Callable[..., subprocess.Popen[str]] = subprocess.Popen
    return start(command, text=True, **options)


class Watched:
    """A witness, and a way to run Python under its eyes: from the first call of the child on."""

    def __init__(self, witness: Witness) -> None:
        self.witness = witness

    def start(self, code: str, *arguments: str, **options: object) -> subprocess.Popen[str]:
        with self.witness.source.watching_self():
            return python(code, *arguments, **options)

    def run(self, code: str, *arguments: str, status: int = 0, **options: object) -> int:
        """The pid of a child that has ended with `status`."""
        child = self.start(code, *arguments, **options)
        assert child.wait(timeout=60) == status
        return child.pid


@pytest.fixture
def watched(witness: Witness) -> Watched:
    return Watched(witness)


@pytest.fixture
def service(live: None) -> Iterator[Service]:
    folder = Path(tempfile.mkdtemp(prefix="kwitness-serve-", dir="/var/tmp"))
    folder.chmod(0o755)
    made = Service(folder)
    yield made
    for child in made.started:
        if child.poll() is None:
            child.kill()
        child.wait()
    shutil.rmtree(folder)
