"""As deploy/systemd/kwitness.service starts it: a user of its own, two capabilities, a supervisor,
a state directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.collector import free_port

pytestmark = pytest.mark.live
ROOT = Path(__file__).parent.parent.parent
NOBODY = 65534
AS_THE_UNIT = [
    "setpriv",
    f"--reuid={NOBODY}",
    f"--regid={NOBODY}",
    "--clear-groups",
    "--no-new-privs",
    "--inh-caps=-all,+bpf,+perfmon",
    "--ambient-caps=-all,+bpf,+perfmon",
    "--bounding-set=-all,+bpf,+perfmon",
]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """Where that user can read us: our code and the packages, outside of root's home."""
    place = Path("/var/tmp") / f"kwitness-unit-{os.getpid()}"
    place.mkdir()
    shutil.copytree(
        ROOT / "receiver", place / "receiver", ignore=shutil.ignore_patterns("__pycache__")
    )
    packages = Path(next(p for p in sys.path if p.endswith("site-packages")))
    wanted = (
        "kwitness-*",
        "msgspec*",
        "grpc*",
        "aiohttp*",
        "aiohappyeyeballs*",
        "aiosignal*",
        "attr*",
        "frozenlist*",
        "idna*",
        "multidict*",
        "opentelemetry*",
        "propcache*",
        "google*",
        "pyroute2*",
        "typing_extensions*",
        "yarl*",
    )
    for pattern in wanted:
        for found in packages.glob(pattern):
            target = place / found.name
            shutil.copytree(found, target, dirs_exist_ok=True) if found.is_dir() else shutil.copy(
                found, target
            )
    state = place / "state"
    state.mkdir(mode=0o700)
    os.chown(state, NOBODY, NOBODY)
    yield place
    shutil.rmtree(place)


class Supervisor:
    """Listens as systemd does, on a socket that everybody may write to."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        path.chmod(0o777)
        self.said: list[str] = []

    def hears(self, what: str, seconds: float = 30) -> bool:
        deadline = time.monotonic() + seconds
        while what not in self.said and time.monotonic() < deadline:
            self._socket.settimeout(max(0.01, deadline - time.monotonic()))
            with contextlib.suppress(TimeoutError):
                self.said += self._socket.recv(4096).decode().splitlines()
        return what in self.said

    def close(self) -> None:
        self._socket.close()


PYTHON = "/usr/bin/python3"
SERVICE = [PYTHON, "-m", "receiver"]


def its_version() -> str:
    """Of the system's Python, or nothing where there is none that works."""
    return subprocess.run(
        [PYTHON, "-c", "import sys; print(sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()


def environment(home: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(home),
        "NOTIFY_SOCKET": str(home / "notify"),
        "WATCHDOG_USEC": "60000000",
        "STATE_DIRECTORY": str(home / "state"),
        "OTEL_SDK_DISABLED": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def is_it_ready(home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*SERVICE, "check", "--ready", "-c", str(home / "kwitness.toml")],
        env=environment(home),
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )


def serves(child: subprocess.Popen[str], supervisor: Supervisor, home: Path) -> None:
    """It tells its supervisor that it is ready, without a capability left, until SIGTERM."""
    assert supervisor.hears("READY=1"), (
        child.communicate(timeout=5)[1] if child.poll() is not None else "no word of it"
    )
    assert supervisor.hears("WATCHDOG=1")
    status = Path(f"/proc/{child.pid}/status").read_text()
    assert f"CapEff:\t{0:016x}" in status and f"CapPrm:\t{0:016x}" in status
    asked = is_it_ready(home)
    assert (asked.returncode, asked.stdout) == (0, "ready\n")
    assert {p.name for p in (home / "state").iterdir()} >= {
        "admin.token",
        "history.db",
        "incidents",
    }
    child.send_signal(signal.SIGTERM)
    assert supervisor.hears("STOPPING=1")
    assert child.wait(30) == 0


def test_it_serves_with_two_capabilities_and_tells_its_supervisor(live: None, home: Path) -> None:
    if its_version() != str(sys.version_info[:2]):
        pytest.skip("the system's Python is another version: packages would not load in it")
    supervisor = Supervisor(home / "notify")
    config = home / "kwitness.toml"
    config.write_text(f"[admin]\nport = {free_port()}\n")
    child = subprocess.Popen(
        [*AS_THE_UNIT, *SERVICE, "serve", "-c", str(config)],
        env=environment(home),
        cwd=home,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        serves(child, supervisor, home)
    finally:
        if child.poll() is None:
            child.kill()
        if child.stderr is not None:
            child.stderr.close()
        child.wait()
        supervisor.close()
    asked = is_it_ready(home)
    assert asked.returncode == 1 and "no service answers" in asked.stdout
