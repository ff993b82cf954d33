"""What a run breaks on this machine: programs, cgroups, mounts and namespaces of its own,
which are gone afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from receiver.units import MIB

V1 = Path("/sys/fs/cgroup")
NAMES = ("transform_users", "nightly_load", "build_report")
SAY = (
    'import os, sys, time\n\n\ndef say(role):\n    os.write(1, f"@{role} {os.getpid()}\\n'
    '".encode())\n\n\n'
)


class UnavailableError(Exception):
    """This machine lacks what the scene needs."""


class Machine:
    """A folder, and what was made on the machine for it, which is gone after `close`."""

    def __init__(self, variant: int) -> None:
        self.variant = variant
        self.folder = Path(tempfile.mkdtemp(prefix="job-"))
        self.name = NAMES[variant % len(NAMES)]
        self.inside: list[str] = []  # what the command is to be run inside of (ip netns exec …)
        self._clean: list[Callable[[], object]] = []

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
