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


def test_it_serves_with_two_capabilities_and_tells_its_supervisor(live: None, home: Path) -> None:
    python = "/usr/bin/python3"
    version = subprocess.run(
        [python, "-c", "import sys; print(sys.version_info[:2])"],
        capture_output=True,
        text=True,
        check=False,
    )
    if version.stdout.strip() != str(sys.version_info[:2]):
        pytest.skip("the system's Python is another version: packages would not load in it")
    supervisor = Supervisor(home / "notify")
    port = free_port()
    config = home / "kwitness.toml"
    config.write_text(f"[admin]\nport = {port}\n")
    env = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(home),
        "NOTIFY_SOCKET": str(home / "notify"),
        "WATCHDOG_USEC": "60000000",
        "STATE_DIRECTORY": str(home / "state"),
        "OTEL_SDK_DISABLED": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    kwitness = [python, "-m", "receiver"]
    child = subprocess.Popen(
        [*AS_THE_UNIT, *kwitness, "serve", "-c", str(config)],
        env=env,
        cwd=home,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert supervisor.hears("READY=1"), (
            child.communicate(timeout=5)[1] if child.poll() is not None else "no word of it"
        )
        assert supervisor.hears("WATCHDOG=1")
        status = Path(f"/proc/{child.pid}/status").read_text()
        assert f"CapEff:\t{0:016x}" in status and f"CapPrm:\t{0:016x}" in status
        asked = subprocess.run(
            [*kwitness, "check", "--ready", "-c", str(config)],
            env=env,
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (asked.returncode, asked.stdout) == (0, "ready\n")
        assert {p.name for p in (home / "state").iterdir()} >= {
            "admin.token",
            "history.db",
            "incidents",
        }
        child.send_signal(signal.SIGTERM)
        assert supervisor.hears("STOPPING=1")
        assert child.wait(30) == 0
    finally:
        if child.poll() is None:
            child.kill()
        if child.stderr is not None:
            child.stderr.close()
        child.wait()
        supervisor.close()
    asked = subprocess.run(
        [*kwitness, "check", "--ready", "-c", str(config)],
        env=env,
        cwd=home,
        capture_output=True,
        text=True,
        check=False,
    )
    assert asked.returncode == 1 and "no service answers" in asked.stdout
