"""The workbench of one composition: its folder, its names, and the steps that faults
are put into."""

from __future__ import annotations

import random
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.incidents.generated.model import Composition, Stage, Step
from tests.incidents.generated.names import Names
from tests.incidents.lab import Lab
from tests.incidents.machine import UnavailableError

_SHORT = 120  # milliseconds of the ordinary steps before and after
_SETTLE = 0.15
_BACKLOG = 16

ORDINARY = ("python", "bash", "c", "perl")  # they start fast


class Bench:
    """All draws come from the seed, and none of them depends on whether the composition is sick."""

    def __init__(self, composition: Composition, lab: Lab) -> None:
        self.composition, self.lab = composition, lab
        self.sick, self.language = composition.sick, composition.language
        self.draw = random.Random(composition.seed)
        self.names = Names(self.draw)
        self.folder = lab.folder
        for name in ("bin", "conf", "files", "run"):
            (self.folder / name).mkdir(exist_ok=True)
        self.input = self.file(200 + self.draw.randrange(800))
        self.notes: dict[str, str] = {}
        self.pid_files: dict[str, Path] = {}
        self.ports: list[int] = []

    # ── things ────────────────────────────────────────────────────────────────────────────────────

    def path(self, folder: str = "files") -> Path:
        return self.folder / folder / self.names.file()

    def file(self, kib: int) -> Path:
        """A file that exists."""
        path = self.path()
        path.write_bytes(b"17,4,abc\n" * (kib * 1024 // 9 + 1))
        return path

    def port(self) -> int:
        """A free one."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            found: int = probe.getsockname()[1]
        self.ports.append(found)
        return found

    def pid_file(self, role: str) -> str:
        """Where the process of this role writes its pid."""
        if role not in self.pid_files:
            self.pid_files[role] = self.folder / "run" / f"{self.names.program()}.pid"
        return str(self.pid_files[role])

    def cgroup_words(self, group: Path) -> tuple[str, ...]:
        """The words in front of a command that move it into a cgroup."""
        return ("sh", "-c", f'echo 0 > {group}/cgroup.procs && exec "$@"', "sh")

    def network(self) -> tuple[str, ...]:
        """The words in front of a command that move it into a network namespace of its own.

        `ip netns exec` would mount another /sys, without the cgroups.
        """
        self.lab.namespace()
        return ("nsenter", f"--net=/run/netns/{self.lab.near}")

    def note(self, key: str, value: object = "yes") -> None:
        """What the injector did."""
        self.notes[key] = str(value)

    # ── steps ─────────────────────────────────────────────────────────────────────────────────────

    def busy(self, ms: float) -> list[str]:
        """Ordinary work of so many milliseconds."""
        lines: list[str] = []
        left = max(ms, 10)
        while left > 0 and len(lines) < 60:
            part = min(left, self.draw.uniform(0.1, 0.4) * max(ms, 50))
            kind = self.draw.choice(("work", "idle", "write", "read", "mixed"))
            if kind == "read":
                lines.append(f"read {self.input}")
            if kind == "write":
                lines.append(f"write {self.path()} {self.draw.choice((4, 40, 400))} {int(part)}")
            elif kind == "work":
                lines.append(f"work {int(part)}")
            else:
                lines += [f"work {int(part / 2)}", f"idle {int(part / 2)}"]
            left -= part
        return lines

    def step(
        self,
        role: str,
        operations: Sequence[str],
        *,
        before: Sequence[str] = (),
        options: Sequence[str] = (),
        language: str = "",
        work: float = 1.0,
    ) -> Step:
        """One of the drawn language: its share of the ordinary work, the operations at the drawn
        moment, the rest of the work."""
        total, moment = self.composition.milliseconds * work, self.composition.moment
        lines = [
            f"note {self.pid_file(role)}",
            *self.busy(total * moment),
            *operations,
            *self.busy(total * (1 - moment)),
        ]
        return Step(
            language=language or self.language,
            name=self.names.program(),
            operations=tuple(lines),
            before=tuple(before),
            options=tuple(options),
        )

    def ordinary(
        self,
        operations: Sequence[str] = (),
        *,
        role: str = "",
        ms: float = _SHORT,
        language: str = "",
    ) -> Step:
        """A short step of another language."""
        note = [f"note {self.pid_file(role)}"] if role else []
        return Step(
            language=language or self.draw.choice(ORDINARY),
            name=self.names.program(),
            operations=(*note, *operations, *self.busy(ms)),
        )

    def stages(self, *main: Stage) -> list[Stage]:
        """The stages of the fault between ordinary ones."""
        before = [Stage((self.ordinary(),)) for _ in range(self.draw.choice((0, 0, 1, 2)))]
        after = [Stage((self.ordinary(),)) for _ in range(self.draw.choice((0, 1, 1)))]
        if self.composition.structure == "alone":
            before, after = [], []
        return [*before, *main, *after]

    def one(self, step: Step) -> list[Stage]:
        return self.stages(Stage((step,)))

    # ── the injector ──────────────────────────────────────────────────────────────────────────────

    def until_moment(self, role: str) -> int:
        """Waits for the process and for its drawn moment; its pid."""
        pid = self.lab.wait(role)
        wait = max(self.composition.milliseconds * self.composition.moment / 1000, _SETTLE)
        time.sleep(wait * (0.6 if self.language in ("java", "node", "go") else 0.8))
        return pid

    def from_outside(self, role: str, number: int, sender: str = "sender") -> None:
        """A signal to that process, at the drawn moment."""
        self.signal(self.until_moment(role), number, sender)

    def signal(self, pid: int, number: int, sender: str = "sender") -> None:
        """A signal by a process of its own, which lives a moment longer."""
        ways = [
            ["bash", "-c", f"kill -{number} {pid}; sleep 1"],
            [
                sys.executable,
                "-S",
                "-c",
                f"import os, time; os.kill({pid}, {number}); time.sleep(1)",
            ],
            ["perl", "-e", f"kill({number}, {pid}); sleep 1"],
        ]
        way = ways[self.composition.number % 3]
        if not Path(f"/proc/{pid}").exists():
            return
        child = self.lab.outside(way)
        self.lab.pids[sender] = child.pid
        self.note("sent", number)

    def stranger(
        self, code: str, *, role: str = "stranger", ready: bool = True, inside: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        """A Python process outside of what is observed. It prints `ready` when it is."""
        path = self.folder / "bin" / f"{self.names.program()}.py"
        path.write_text(f"import os, socket, sys, time\n{code}\n")
        child = self.lab.outside(
            [*inside, sys.executable, "-S", str(path)],
            ready="ready" if ready else "",
            start_new_session=True,
        )
        self.lab.pids[role] = child.pid
        return child

    def server(self, answer: str, *, inside: Sequence[str] = ()) -> int:
        """A server outside; `answer`: what it does with each connection `c`. Gives its port."""
        port = self.port()
        self.stranger(
            f"s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
            f"s.bind(('127.0.0.1', {port})); s.listen({_BACKLOG}); print('ready', flush=True)\n"
            f"import threading\ndef work(c):\n    try:\n        {answer}\n"
            "    except OSError: pass\n"
            "while True:\n    c, _ = s.accept()\n"
            "    threading.Thread(target=work, args=(c,), daemon=True).start()\n",
            role="server",
            inside=inside,
        )
        return port


OK = "c.recv(64); c.sendall(b'ok\\n'); c.close()"


def not_here(condition: bool, why: str) -> None:
    if condition:
        raise UnavailableError(why)
