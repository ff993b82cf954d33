"""The laboratory: real processes that fail in a known way under a real kwitness,
and the truth about each run.

The injector is this process. It is outside of what is observed, and nothing that is observed
carries a name that gives the answer away. Programs tell their pids on standard output,
as `@role pid`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from receiver.units import MIB
from tests.truth.check import Verdicts
from tests.truth.play import Witnesses

ROOT = Path(__file__).parent.parent.parent
V1 = Path("/sys/fs/cgroup")
NAMES = ("transform_users", "nightly_load", "build_report")
SAY = (
    'import os, sys, time\n\n\ndef say(role):\n    os.write(1, f"@{role} {os.getpid()}\\n'
    '".encode())\n\n\n'
)


class Truth(msgspec.Struct, frozen=True):
    """What really happened, as the injector knows it. `culprit`: one of pid, path, address, cgroup;
    several if all are right."""

    cause: str
    culprit: dict[str, Any] = {}
    verdict: str = "incident"
    rivals: tuple[str, ...] = ()
    also_right: tuple[str, ...] = ()  # classes that are as good an answer


class Result(msgspec.Struct):
    """One run: its truth and the report."""

    scene: str
    card: str
    tier: str
    visible: str
    variant: int
    truth: Truth
    report: dict[str, Any]
    status: int
    t_fault: float = 0.0
    t_report: float = 0.0
    log: str = ""


class UnavailableError(Exception):
    """This machine lacks what the scene needs."""


class Lab:
    """One run of one scene: a folder, and what it made on the machine, which is gone afterwards."""

    def __init__(self, variant: int, keep: Path | None = None) -> None:
        self.variant = variant
        self.folder = Path(tempfile.mkdtemp(prefix="job-"))
        self.name = NAMES[variant % len(NAMES)]
        self.pids: dict[str, int] = {}
        self.output = ""
        self.report: dict[str, Any] = {}
        self.status = 0
        self.fault_at = 0.0
        self.ended_at = 0.0
        self.keep = keep
        self.history: Path | None = None
        self.options: list[str] = []
        self.witnessed = False
        self.verdicts = Verdicts()  # of the witnesses of all its runs
        self.inside: list[str] = []  # what the command is to be run inside of (ip netns exec …)
        self._heard = threading.Condition()
        self._clean: list[Callable[[], object]] = []

    # ── things to break ───────────────────────────────────────────────────────────────────────────

    def script(self, code: str, name: str = "") -> str:
        """A Python program with `say(role)`, below a name that says nothing."""
        path = self.folder / f"{name or self.name}.py"
        path.write_text(SAY + code)
        return str(path)

    def python(self, code: str, *arguments: str, name: str = "") -> list[str]:
        return [sys.executable, "-S", self.script(code, name), *arguments]

    def shell(self, code: str, name: str = "") -> list[str]:
        path = self.folder / f"{name or self.name}.sh"
        path.write_text(code)
        return ["bash", str(path)]

    def wrapped(self, command: list[str]) -> list[str]:
        """Directly, through a shell, or from another program, by variant."""
        if self.variant % 3 == 1:
            line = " ".join(f"'{word}'" for word in command)
            return self.shell(f"set -euo pipefail\necho begin\n{line}\necho end\n", "job")
        if self.variant % 3 == 2:
            return self.python(
                f"import subprocess\nsys.exit(subprocess.run({command!r}).returncode)\n",
                name="main",
            )
        return command

    def cgroup(self, controller: str, **values: object) -> Path:
        """A v1 cgroup of our own; keys are files of the controller, `memory_limit_in_bytes=…`."""
        base = V1 / controller
        if not base.is_dir():
            raise UnavailableError(f"no {controller} controller")
        group = base / f"job-{self.folder.name[4:]}-{len(self._clean)}"
        group.mkdir()
        for key, value in values.items():
            (group / key.replace("_", ".", 1)).write_text(str(value))
        self._clean.append(lambda: _remove_cgroup(group))
        return group

    def mount(self, kind: str, *options: str, size: str = "16m") -> Path:
        """A tmpfs, or an ext4 on a loop device."""
        place = self.folder / "data"
        place.mkdir()
        if kind == "tmpfs":
            words = ["-t", "tmpfs", "-o", ",".join([f"size={size}", *options]), "tmpfs"]
        else:
            image = self.folder / "image"
            with image.open("wb") as file:
                file.truncate(int(size[:-1]) * MIB)
            subprocess.run(["mkfs.ext4", "-q", *options, str(image)], check=True)
            words = ["-o", "loop", str(image)]
        subprocess.run(["mount", *words, str(place)], check=True)
        self._clean.append(lambda: subprocess.run(["umount", "-l", str(place)], check=False))
        return place

    def namespace(self) -> str:
        """A network namespace with a veth to a second one: 10.77.0.1 here, 10.77.0.2 there.
        Commands run in the first."""
        tag = self.folder.name[4:].replace("_", "x")[:6]
        near, far = f"n{tag}", f"f{tag}"
        for name in (near, far):
            run("ip", "netns", "add", name)
            self._clean.append(partial(subprocess.run, ["ip", "netns", "del", name], check=False))
        run(
            "ip",
            "link",
            "add",
            f"v{tag}",
            "netns",
            near,
            "type",
            "veth",
            "peer",
            "name",
            f"w{tag}",
            "netns",
            far,
        )
        for name, link, address in (
            (near, f"v{tag}", "10.77.0.1/24"),
            (far, f"w{tag}", "10.77.0.2/24"),
        ):
            run("ip", "-n", name, "addr", "add", address, "dev", link)
            run("ip", "-n", name, "link", "set", link, "up")
            run("ip", "-n", name, "link", "set", "lo", "up")
        self.inside = ["ip", "netns", "exec", near]
        self.near, self.far = near, far
        return far

    def outside(
        self, command: list[str], *, namespace: str = "", ready: str = "", **options: Any
    ) -> subprocess.Popen[bytes]:
        """A process that is not observed. `ready`: wait until it prints that."""
        full = ["ip", "netns", "exec", namespace, *command] if namespace else command
        child = subprocess.Popen(
            full,
            stdout=subprocess.PIPE if ready else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **options,
        )
        self._clean.append(lambda: stop(child))
        if ready:
            assert child.stdout is not None
            for line in child.stdout:
                if ready.encode() in line:
                    break
        return child

    def clean_up(self, action: Callable[[], object]) -> None:
        self._clean.append(action)

    # ── running ───────────────────────────────────────────────────────────────────────────────────

    def run(
        self,
        command: list[str],
        during: Callable[[], None] | None = None,
        *,
        timeout: float = 120,
        env: dict[str, str] | None = None,
    ) -> None:
        """Under kwitness, to its end. `during` runs beside it: the injector."""
        report = self.folder / "report.json"
        record = [] if self.keep is None else ["-o", str(self.keep), "--whole-host"]
        full = [
            sys.executable,
            "-m",
            "receiver",
            "record" if record else "run",
            *record,
            "--quiet",
            "--name",
            self.name,
        ]
        full += ["--report", str(report), *self.options]
        if self.history is not None:
            full += ["--history", str(self.history)]
            if self.keep is not None and self.history.exists():
                shutil.copy(
                    self.history, self.keep.with_suffix(".history")
                )  # as it was before this run
        observed = [*self.inside, *command]
        witnesses = None
        if self.witnessed:
            witnesses = Witnesses(Path(tempfile.mkdtemp(dir=self.folder)))
            self.clean_up(witnesses.close)
            observed = witnesses.held(observed)
        child = subprocess.Popen(
            [*full, "--", *observed],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **(env or {})},
            start_new_session=True,
        )
        self.child = child
        if witnesses is not None:
            witnesses.attach(child)
        injector = (
            threading.Thread(target=_guarded, args=(during,), daemon=True)
            if during is not None
            else None
        )
        if injector is not None:
            injector.start()
        watchdog = threading.Timer(timeout, lambda: os.killpg(child.pid, signal.SIGKILL))
        watchdog.start()
        assert child.stdout is not None
        with child.stdout as lines:
            for line in lines:
                self._hear(line)
        self.status = child.wait()
        self.ended_at = time.monotonic()
        watchdog.cancel()
        if injector is not None:
            injector.join(timeout=5)
        if not report.exists():
            raise RuntimeError(f"no report (status {self.status}): {self.output[-1500:]}")
        self.report = json.loads(report.read_text())
        if witnesses is not None:
            self.verdicts.add(witnesses.verdicts(self.report))

    def _hear(self, line: str) -> None:
        self.output += line
        if line.startswith("@"):
            role, _, pid = line[1:].strip().partition(" ")
            with self._heard:
                self.pids[role] = int(pid)
                self._heard.notify_all()

    def wait(self, role: str, timeout: float = 40) -> int:
        with self._heard:
            if not self._heard.wait_for(lambda: role in self.pids, timeout):
                raise RuntimeError(f"{role} did not come")
        return self.pids[role]

    def send(self, role: str, number: int, *, after: float = 0.0) -> None:
        """By a process of its own, with a name that varies:
        what an operator or a supervisor would be."""
        pid = self.wait(role)
        time.sleep(after)
        self.fault_at = time.monotonic()
        code = f"import os; os.kill({pid}, {number})"
        subprocess.run([sys.executable, "-S", "-c", code], check=False)

    def close(self) -> None:
        for action in reversed(self._clean):
            with contextlib.suppress(OSError):
                action()
        shutil.rmtree(self.folder, ignore_errors=True)


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def join(group: Path) -> str:
    """Python lines that move the process into a cgroup."""
    return f"open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"


def _guarded(during: Callable[[], None]) -> None:
    try:
        during()
    except (OSError, RuntimeError) as error:
        print(f"injector: {error}", file=sys.stderr)


def stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        child.kill()
    child.wait()
    if child.stdout is not None:
        child.stdout.close()


def _remove_cgroup(group: Path) -> None:
    for _ in range(100):
        try:
            group.rmdir()
            return
        except OSError:
            for pid in (group / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            time.sleep(0.05)


class Scene(msgspec.Struct, frozen=True):
    name: str
    card: str
    tier: str
    visible: str
    play: Callable[[Lab], Truth]
    variants: int
    group: str


SCENES: dict[str, Scene] = {}


def scene(
    card: str, tier: str, visible: str, *, variants: int = 3, group: str = ""
) -> Callable[[Callable[[Lab], Truth]], Callable[[Lab], Truth]]:
    """Registers a scene. `group`: its twins."""

    def note(play: Callable[[Lab], Truth]) -> Callable[[Lab], Truth]:
        name = play.__name__
        SCENES[name] = Scene(name, card, tier, visible, play, variants, group or name)
        return play

    return note


def witnessed(chosen: Scene, variant: int) -> tuple[Truth, str, Verdicts]:
    """The truth and the verdict of one run, and what the witnesses say of its report."""
    lab = Lab(variant)
    lab.witnessed = True
    try:
        truth = chosen.play(lab)
        return truth, lab.report["verdict"], lab.verdicts
    finally:
        lab.close()


def play(chosen: Scene, variant: int, keep: Path | None = None) -> Result:
    """One run. Raises UnavailableError where the machine cannot."""
    lab = Lab(variant, keep)
    try:
        truth = chosen.play(lab)
        culprit = {k: lab.pids.get(v, v) if k == "pid" else v for k, v in truth.culprit.items()}
        late = max(0.0, lab.ended_at - lab.fault_at) if lab.fault_at else 0.0
        return Result(
            chosen.name,
            chosen.card,
            chosen.tier,
            chosen.visible,
            variant,
            msgspec.structs.replace(truth, culprit=culprit),
            lab.report,
            lab.status,
            t_report=late,
            log=lab.output[-6000:],
        )
    finally:
        lab.close()


def every(names: list[str]) -> Iterator[tuple[Scene, int]]:
    """Chosen by beginnings of their names; all when none is named."""
    import tests.incidents.scenes

    del tests
    for chosen in SCENES.values():
        if not names or any(chosen.name.startswith(n) or chosen.group == n for n in names):
            for variant in range(chosen.variants):
                yield chosen, variant
