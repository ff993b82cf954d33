"""The confined service as root starts it, and what proc(5) says of its processes."""

from __future__ import annotations

import pwd
import re
import signal
import subprocess
import time
import urllib.request
from pathlib import Path

from tests.e2e.collector import free_port
from tests.live.installation import PYTHON

NOBODY = pwd.getpwnam("nobody").pw_uid
BOTH = 1 << 38 | 1 << 39  # CAP_PERFMON, CAP_BPF
LOOPS = {"uvloop": "", "asyncio": "without_uvloop"}
WITH_HELPER = '[privileges]\nhelper = "always"\n'


class Service:
    """`kwitness serve` as root starts it, and its processes."""

    def __init__(
        self,
        home: Path,
        loop: str = "uvloop",
        *options: str,
        settings: str = "",
        state: str = "state",
        before: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self.home = home
        config = home / "kwitness.toml"
        grace = "task_grace_seconds = 1\nrun_grace_seconds = 1\nheartbeat_seconds = 1"
        config.write_text(
            f'[admin]\nport = {self.port}\n[state]\ndirectory = "{home}/{state}"\n[core]\n{grace}\n'
            f"{settings}\n"
        )
        path = [str(home)] if not LOOPS[loop] else [str(home / LOOPS[loop]), str(home)]
        base = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": ":".join(path),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.process = subprocess.Popen(
            [*before, PYTHON, "-m", "receiver", "serve", "-c", str(config), *options],
            env=base | (env or {"OTEL_SDK_DISABLED": "true"}),
            cwd=home,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        said = []
        for line in self.process.stderr:
            said.append(line)
            if "attached to" in line or "receiving OTLP" in line:
                break
        else:
            self.process.communicate(timeout=30)
            raise AssertionError(f"it did not start: {''.join(said)}")
        self.starting = "".join(said)

    def family(self) -> dict[str, int]:
        """Pids of its children by their names."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (fields := status(int(entry.name))).get("PPid") == str(
                self.process.pid
            ):
                found[fields["Name"]] = int(entry.name)
        return found

    def ask(self, path: str, body: bytes | None = None) -> str:
        token = (self.home / "state" / "admin.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.read().decode())

    def until(self, path: str, wanted: str, seconds: float = 30) -> str:
        deadline = time.monotonic() + seconds
        while wanted not in (said := self.ask(path)):
            assert time.monotonic() < deadline, f"{wanted!r} is not in {said[:2000]}"
            time.sleep(0.1)
        return said

    def stop(self) -> str:
        """What it logged after its start."""
        self.process.send_signal(signal.SIGTERM)
        try:
            _, log = self.process.communicate(timeout=30)
        finally:
            self.process.kill()
        assert self.process.returncode == 0, log
        return log


def status(pid: int) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return {}
    return dict(re.findall(r"^(\w+):[ \t]*(.*)$", text, re.M))
