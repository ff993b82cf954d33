"""Plays one composition under kwitness, live or as a wire story."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from tests.incidents.generated import contexts, noise, stories
from tests.incidents.generated.bench import Bench
from tests.incidents.generated.faults import FAULTS
from tests.incidents.generated.model import Composition, Plan, Run
from tests.incidents.generated.workloads import workload
from tests.incidents.lab import ROOT, Lab
from tests.incidents.results import Truth
from tests.truth.check import Verdicts
from tests.truth.play import Witnesses

_LIMIT = 120  # seconds, and four times the length
HEALTHY = Truth("none.healthy", verdict="healthy")


class VoidError(Exception):
    """The fault did not happen, or the run is not what was composed: it counts for nothing."""


class Played(msgspec.Struct, kw_only=True):
    composition: Composition
    visible: str
    truth: Truth
    report: dict[str, Any]
    log: str = ""
    notes: dict[str, str] = {}
    seconds: float = 0.0
    false: list[str] = []
    true: int = 0
    undecided: list[str] = []  # sentences


def play(composition: Composition, *, witnessed: bool = False, keep: Path | None = None) -> Played:
    """Raises UnavailableError where this machine cannot, VoidError where the run's record does not
    show what was composed.

    `keep`: the file for a recording of a live run. A story is made again from its seed.
    """
    if composition.structure == "story":
        truth, visible, report = stories.play(composition)
        return Played(
            composition=composition,
            visible=visible,
            truth=truth if composition.sick else HEALTHY,
            report=report,
        )
    lab = Lab(composition.number, keep)
    try:
        return _live(composition, lab, witnessed)
    finally:
        lab.close()


def composed(composition: Composition, lab: Lab) -> tuple[Bench, Plan, list[str]]:
    """What the laboratory needs for it, and its command."""
    bench = Bench(composition, lab)
    plan = FAULTS[composition.fault].make(bench)
    noise.NOISE[composition.noise](bench, plan)
    command = workload(lab.folder, bench.names.program(), composition.structure, plan.stages)
    command = [*plan.inside, *contexts.wrapped(bench, command)]
    for each in [lab.folder, *(p for p in lab.folder.iterdir() if p.is_dir())]:
        with contextlib.suppress(OSError):  # a mount may be read-only
            each.chmod(0o777)
    return bench, plan, command


def _live(composition: Composition, lab: Lab, witnessed: bool) -> Played:
    bench, plan, command = composed(composition, lab)
    began, witnesses = time.monotonic(), Witnesses(lab.folder) if witnessed else None
    try:
        run, verdicts = _observed(bench, command, plan, witnesses)
    finally:
        if witnesses is not None:
            witnesses.close()
    check(composition, plan, run)
    truth = _with_pids(plan.truth, run.pids) if composition.sick else HEALTHY
    played = Played(
        composition=composition,
        visible=FAULTS[composition.fault].visible,
        truth=truth,
        report=run.report,
        log=run.log[-4000:],
        notes=bench.notes,
        seconds=time.monotonic() - began,
    )
    if verdicts is not None:
        played.true, played.false = verdicts.true, list(verdicts.false)
        played.undecided = list(verdicts.undecided)
    return played


def check(composition: Composition, plan: Plan, run: Run) -> None:
    """Raises VoidError where the run's own record does not show what was composed."""
    if not composition.sick:
        if run.status != 0:
            raise VoidError(f"the twin failed with status {run.status}: {run.log[-600:]}")
        return
    if not plan.happened(run):
        raise VoidError(
            f"the fault did not happen (status {run.status}, notes {run.notes}): {run.log[-600:]}"
        )


def _with_pids(truth: Truth, pids: dict[str, int]) -> Truth:
    found: dict[str, Any] = {}
    for key, value in truth.culprit.items():
        if key == "pid":
            if value not in pids:
                raise VoidError(f"the pid of {value} is not known")
            found[key] = pids[value]
        elif key == "pids":
            found[key] = [pids[v] for v in value if v in pids]
        else:
            found[key] = value
    return msgspec.structs.replace(truth, culprit=found)


# ── the process ───────────────────────────────────────────────────────────────────────────────────


def _observed(
    bench: Bench, command: list[str], plan: Plan, witnesses: Witnesses | None
) -> tuple[Run, Verdicts | None]:
    report, keep = bench.lab.folder / "report.json", bench.lab.keep
    verb = ["run"] if keep is None else ["record", "-o", str(keep), "--whole-host"]
    observed = witnesses.held(command) if witnesses is not None else command
    full = [
        sys.executable,
        "-m",
        "receiver",
        *verb,
        "--quiet",
        "--report",
        str(report),
        "--",
        *observed,
    ]
    run = perform(bench, plan, full, {"PYTHONPATH": str(ROOT)}, witnesses)
    if not report.exists():
        raise VoidError(f"no report (status {run.status}): {run.log[-600:]}")
    run.report = json.loads(report.read_text())
    verdicts = witnesses.verdicts(run.report) if witnesses is not None else None
    return run, verdicts


def perform(
    bench: Bench,
    plan: Plan,
    command: list[str],
    environment: dict[str, str],
    witnesses: Witnesses | None = None,
) -> Run:
    """The command to its end, with its injector beside it."""
    lab = bench.lab
    run = Run(folder=lab.folder)
    with _output(bench.composition.output, lab.folder) as (out, texts), _Finder(bench):
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
            cwd=lab.folder,
            env={**os.environ, **environment},
            start_new_session=True,
        )
        reader = threading.Thread(target=_collect, args=(child.stderr, texts), daemon=True)
        reader.start()
        watchdog = threading.Timer(
            _LIMIT + 4 * bench.composition.milliseconds / 1000, lambda: _kill_group(child.pid)
        )
        watchdog.start()
        if witnesses is not None:
            witnesses.attach(child)
        injector = threading.Thread(target=_guarded, args=(plan, texts), daemon=True)
        injector.start()
        run.status = child.wait()
        watchdog.cancel()
        injector.join(8)
        reader.join(3)  # what a helper left behind may hold the pipe
    run.log = b"".join(texts).decode(errors="replace") + _kept(lab.folder)
    run.pids, run.notes = dict(lab.pids), bench.notes
    return run


def _kept(folder: Path) -> str:
    paths = [
        folder / "run" / "cron.log",
        folder / "stdout",
        folder / "nohup.out",
        folder / "run" / "typescript",
    ]
    return "".join(p.read_bytes()[-4000:].decode(errors="replace") for p in paths if p.exists())


def _guarded(plan: Plan, texts: list[bytes]) -> None:
    if plan.during is not None:
        try:
            plan.during()
        except (OSError, RuntimeError) as error:
            texts.append(f"injector: {error}\n".encode())


def _kill_group(pid: int) -> None:
    with contextlib.suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


def _collect(stream: IO[bytes] | None, texts: list[bytes]) -> None:
    assert stream is not None
    with stream, contextlib.suppress(OSError):
        while part := os.read(stream.fileno(), 65536):
            if sum(map(len, texts)) < 1 << 20:
                texts.append(part)


@contextlib.contextmanager
def _output(kind: str, folder: Path) -> Iterator[tuple[int, list[bytes]]]:
    """Where standard output goes, and a list that what is read of it is put into."""
    texts: list[bytes] = []
    if kind in ("file", "null"):
        fd = os.open(
            folder / "stdout" if kind == "file" else "/dev/null", os.O_WRONLY | os.O_CREAT, 0o666
        )
        try:
            yield fd, texts
        finally:
            os.close(fd)
        return
    near, far = pty.openpty() if kind == "terminal" else os.pipe()
    thread = threading.Thread(target=_collect, args=(os.fdopen(near, "rb"), texts), daemon=True)
    thread.start()
    try:
        yield far, texts
    finally:
        os.close(far)
        thread.join(3)


class _Finder(threading.Thread):
    """Reads the pid files of roles, and finds what a pid of another namespace is here."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(daemon=True)
        self._bench, self._lab, self._done = bench, bench.lab, threading.Event()

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self.join(5)
        self._look()

    def run(self) -> None:
        while not self._done.wait(0.01):
            self._look()

    def _look(self) -> None:
        for role, path in tuple(self._bench.pid_files.items()):
            text = path.read_text().strip() if path.exists() else ""
            if role not in self._lab.pids and text.isdigit():
                pid = self._here(int(text))
                with contextlib.suppress(OSError, IndexError):
                    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                    self._lab.pids[f"{role}.parent"] = int(fields[1])
                self._lab._hear(f"@{role} {pid}\n")

    def _here(self, pid: int) -> int:
        folder = str(self._lab.folder)
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError, ValueError):
                status = (path / "status").read_text()
                numbers = next(
                    line for line in status.splitlines() if line.startswith("NSpid")
                ).split()[1:]
                if (
                    len(numbers) > 1
                    and int(numbers[-1]) == pid
                    and folder in (path / "cmdline").read_text()
                ):
                    return int(numbers[0])
        return pid
