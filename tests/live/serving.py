"""`kwitness serve` with a state directory, as tests start, ask and end it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from tests.e2e.collector import free_port

ROOT = Path(__file__).parent.parent.parent
KWITNESS = [sys.executable, "-m", "receiver"]
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
NAP_RUN = f"NAP_RUN_{os.getpid()}"  # so that the naps of another test process are not ours
CONFIG = """
shutdown_seconds = 0.5
[admin]
port = {port}
[state]
directory = "{state}"
[core]
task_grace_seconds = 0.2
run_grace_seconds = 0.2
[[rule]]
name = "naps"
environment = "{variable}"
system = "naps"
pipeline = "afternoon"
task = "nap"
run = "{{{variable}}}"
"""


def until(condition: Any, what: str, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


class Service:
    """`kwitness serve` with a state directory that the user nobody can reach."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state, self.port = folder, folder / "state", free_port()
        self.config = folder / "kwitness.toml"
        self.config.write_text(CONFIG.format(port=self.port, state=self.state, variable=NAP_RUN))
        self.started: list[subprocess.Popen[str]] = []

    def start(self, **env: str) -> subprocess.Popen[str]:
        number = len(self.started)
        with (
            (self.folder / f"{number}.out").open("w") as out,
            (self.folder / f"{number}.err").open("w") as err,
        ):
            child = subprocess.Popen(
                [*KWITNESS, "serve", "-c", str(self.config)],
                env=CLEAN | env,
                stdout=out,
                stderr=err,
                text=True,
                cwd=ROOT,
            )
        self.started.append(child)
        until(lambda: self.ask("/readyz") or child.poll() is not None, "it does not become ready")
        assert child.poll() is None, self.said(number)
        return child

    def ask(self, path: str, *, token: bool = False) -> str:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}")
        if token:
            given = (self.state / "admin.token").read_text().strip()
            request.add_header("Authorization", f"Bearer {given}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return str(answer.read().decode())
        except (OSError, urllib.error.URLError):
            return ""

    def said(self, number: int = -1) -> str:
        number = number % len(self.started)
        return (self.folder / f"{number}.err").read_text()

    def records(self) -> list[dict[str, Any]]:
        """What the last one printed as log records."""
        lines = (self.folder / f"{len(self.started) - 1}.out").read_text().splitlines()
        return [
            {
                "name": r["eventName"],
                **{a["key"]: next(iter(a["value"].values())) for a in r["attributes"]},
            }
            for line in lines
            for x in json.loads(line)["resourceLogs"]
            for y in x["scopeLogs"]
            for r in y["logRecords"]
        ]

    def mark(self) -> dict[str, Any]:
        text = (self.state / "last-life").read_text()
        return dict(json.loads(text.partition(" ")[2])) if text.strip() else {"unsent": {}}

    def spans(self) -> list[dict[str, Any]]:
        """What the last one printed as spans: names and attributes."""
        lines = (self.folder / f"{len(self.started) - 1}.out").read_text().splitlines()
        return [
            {
                "name": span["name"],
                **{
                    a["key"]: int(next(iter(a["value"].values()), 0))
                    for a in span["attributes"]
                    if "intValue" in a["value"]
                },
            }
            for line in lines
            for x in json.loads(line)["resourceSpans"]
            for y in x["scopeSpans"]
            for span in y["spans"]
            if any(a["value"].get("stringValue") == "first" for a in span["attributes"])
        ]

    def nap(self, number: int) -> None:
        env = CLEAN | {NAP_RUN: f"r{number}"}
        subprocess.run(["sh", "-c", "sleep 0.05; true"], check=True, env=env)

    def stop(self, how: int = signal.SIGTERM) -> int:
        self.started[-1].send_signal(how)
        return self.started[-1].wait(60)


NO_EXPORT = {"OTEL_SDK_DISABLED": "true"}
CONSOLE = {
    "OTEL_LOGS_EXPORTER": "console",
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "none",
}
