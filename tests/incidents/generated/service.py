"""Plays compositions below one `kwitness serve`, and counts which of them are at /incidents."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from tests.incidents.generated.model import Composition
from tests.incidents.generated.play import VoidError, check, composed, perform
from tests.incidents.lab import ROOT, Lab
from tests.incidents.machine import UnavailableError

_MARK = "LAB_RUN"  # the variable that marks a task
_SETTLED = 6.0  # seconds after which a task that ended is reported
_SETTINGS = """\
[admin]
port = {port}
[state]
directory = "{folder}/state"
[core]
task_grace_seconds = 1
run_grace_seconds = 1
[[rule]]
environment = "{mark}"
system = "lab"
pipeline = "composed"
task = "composed"
run = "{{0}}"
"""


class Told(msgspec.Struct):
    """`alarms`: healthy runs at /incidents as incidents. `found`: runs with a fault, there."""

    healthy: int = 0
    sick: int = 0
    void: int = 0
    found: int = 0
    alarms: list[str] = []

    def __str__(self) -> str:
        return (
            f"{self.healthy} healthy runs, {len(self.alarms)} of them at /incidents as incidents; "
            f"{self.sick} runs with a fault, {self.found} of them there; {self.void} void"
        )


class Service:
    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kwitness-lab-")
        folder = Path(self._folder.name)
        folder.chmod(0o755)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        config = folder / "kwitness.toml"
        config.write_text(_SETTINGS.format(port=self._port, folder=folder, mark=_MARK))
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "receiver", "serve", "-c", str(config)],
            env={**os.environ, "PYTHONPATH": str(ROOT), "OTEL_SDK_DISABLED": "true"},
            stderr=self._log,
        )
        self._token = folder / "state" / "admin.token"
        self._wait()

    def _wait(self) -> None:
        for _ in range(1800):
            try:
                if self._ask("/readyz") == "ready\n":
                    return
            except OSError:  # no token yet, or no answer
                time.sleep(0.1)
            if self._process.poll() is not None:
                break
        said = (Path(self._folder.name) / "log").read_text()
        self.close()
        raise RuntimeError(f"the service did not start: {said[-1000:]}")

    def _ask(self, path: str) -> str:
        headers = {"Authorization": f"Bearer {self._token.read_text().strip()}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self._port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.read().decode())

    def incidents(self) -> dict[str, dict[str, Any]]:
        """By the run that they are about."""
        rows = json.loads(self._ask("/incidents"))["incidents"]
        return {row["run_id"]: row for row in rows if row["verdict"] == "incident"}

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        self._folder.cleanup()


def play_all(compositions: Iterable[Composition]) -> Told:
    """One after the other, below one service."""
    told, runs = Told(), dict[str, Composition]()
    service = Service()
    try:
        for each in compositions:
            if each.structure == "story":
                continue
            name = f"{each.number}-{'incident' if each.sick else 'twin'}"
            try:
                _play(each, name)
            except (UnavailableError, VoidError, RuntimeError, OSError) as why:
                told.void += 1
                print(f"---- {name}: {type(why).__name__}: {str(why)[:200]}", flush=True)
                continue
            runs[name] = each
        time.sleep(_SETTLED)
        _count(told, runs, service.incidents())
    finally:
        service.close()
    return told


def _count(told: Told, runs: dict[str, Composition], incidents: dict[str, dict[str, Any]]) -> None:
    for name, composition in runs.items():
        row = incidents.get(name)
        if composition.sick:
            told.sick += 1
            told.found += row is not None
        else:
            told.healthy += 1
            if row is not None:
                told.alarms.append(
                    f"{name} ({composition.fault}): {row['cause']}: {row['summary']}"
                )


def _play(composition: Composition, name: str) -> None:
    lab = Lab(composition.number)
    try:
        bench, plan, command = composed(composition, lab)
        check(composition, plan, perform(bench, plan, command, {_MARK: name}))
    finally:
        lab.close()
