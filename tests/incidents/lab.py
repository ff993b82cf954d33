"""The laboratory: real processes that fail in a known way under a real kwitness.

The injector is this process. It is outside of what is observed, and nothing that is observed
carries a name that gives the answer away. Programs tell their pids on standard output,
as `@role pid`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.incidents.machine import Machine
from tests.truth.check import Verdicts
from tests.truth.play import Witnesses

ROOT = Path(__file__).parent.parent.parent


class Lab(Machine):
    """One run of one scene."""

    def __init__(self, variant: int, keep: Path | None = None) -> None:
        super().__init__(variant)
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
        self._heard = threading.Condition()

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
        full = self._kwitness(report)
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
        self._follow(child, during, timeout)
        if not report.exists():
            raise RuntimeError(f"no report (status {self.status}): {self.output[-1500:]}")
        self.report = json.loads(report.read_text())
        if witnesses is not None:
            self.verdicts.add(witnesses.verdicts(self.report))

    def _kwitness(self, report: Path) -> list[str]:
        """Its command, up to that of the pipeline."""
        record = [] if self.keep is None else ["-o", str(self.keep), "--whole-host"]
        full = [sys.executable, "-m", "receiver", "record" if record else "run", *record]
        full += ["--quiet", "--name", self.name, "--report", str(report), *self.options]
        if self.history is not None:
            full += ["--history", str(self.history)]
            if self.keep is not None and self.history.exists():
                shutil.copy(
                    self.history, self.keep.with_suffix(".history")
                )  # as it was before this run
        return full

    def _follow(
        self,
        child: subprocess.Popen[str],
        during: Callable[[], None] | None,
        timeout: float,
    ) -> None:
        """To its end, with the injector beside it; it is killed after `timeout` seconds."""
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


def _guarded(during: Callable[[], None]) -> None:
    try:
        during()
    except (OSError, RuntimeError) as error:
        print(f"injector: {error}", file=sys.stderr)
