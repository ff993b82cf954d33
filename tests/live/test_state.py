"""A service and its state directory: what it refuses, what it stores, and what it says
after a SIGKILL."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.collector import free_port

pytestmark = pytest.mark.live
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


@pytest.fixture
def service(live: None) -> Iterator[Service]:
    folder = Path(tempfile.mkdtemp(prefix="kwitness-serve-", dir="/var/tmp"))
    folder.chmod(0o755)
    made = Service(folder)
    yield made
    for child in made.started:
        if child.poll() is None:
            child.kill()
        child.wait()
    shutil.rmtree(folder)


NO_EXPORT = {"OTEL_SDK_DISABLED": "true"}
CONSOLE = {
    "OTEL_LOGS_EXPORTER": "console",
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "none",
}


def test_a_foreign_directory_or_a_link_to_one_is_refused_before_anything_attaches(
    service: Service,
) -> None:
    service.state.mkdir()
    key = service.state / "key"
    key.write_text("secret")
    key.chmod(0o600)
    shutil.copy("/bin/true", service.state / "tool")
    (service.state / "tool").chmod(0o4755)
    before = {
        p: (p.stat().st_uid, p.stat().st_mode) for p in (service.state, *service.state.iterdir())
    }
    link = service.folder / "link"
    link.symlink_to(service.state)
    for place, why in (
        (service.state, "it belongs to root and the service runs as uid "),
        (link, "a symbolic link is on the way"),
    ):
        service.config.write_text(CONFIG.format(port=service.port, state=place, variable=NAP_RUN))
        done = subprocess.run(
            [*KWITNESS, "serve", "-c", str(service.config)],
            env=CLEAN,
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
        )
        assert (done.returncode, len(done.stderr.splitlines())) == (78, 1) and why in done.stderr, (
            done.stderr
        )
    assert {
        p: (p.stat().st_uid, p.stat().st_mode) for p in (service.state, *service.state.iterdir())
    } == before


def test_a_second_one_is_refused_and_what_a_kill_loses_is_said_at_the_next_start(
    service: Service,
) -> None:
    first = service.start(
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}",
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
    )
    second = subprocess.run(
        [*KWITNESS, "serve", "-c", str(service.config)],
        env=CLEAN,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (second.returncode, len(second.stderr.splitlines())) == (75, 1), second.stderr
    assert f"in use by another kwitness service (process {first.pid})" in second.stderr
    for number in range(3):
        service.nap(number)
    until(
        lambda: (
            service.mark()["unsent"].get("span", 0) >= 3 and service.mark()["unsent"]["log_record"]
        ),
        "nothing is queued",
    )
    service.stop(signal.SIGKILL)
    unsent = service.mark()["unsent"]

    service.start(**CONSOLE)
    gap = until(
        lambda: [r for r in service.records() if r["name"] == "pipeline.observer.gap"],
        "no record of the gap",
    )
    assert [r["pipeline.observer.loss.reason"] for r in gap] == ["killed"]
    lost = {
        r["pipeline.observer.event.kind"]: int(r["pipeline.observer.events_lost"])
        for r in service.records()
        if r["name"] == "pipeline.observer.events_lost"
        and r["pipeline.observer.loss.reason"] == "killed"
    }
    assert lost == {kind: count for kind, count in unsent.items() if count}
    assert (
        f"its export queue was lost: {unsent['data_point']} data points" in service.said()
        or unsent["data_point"] == 0
    )
    assert f"{unsent['span']} spans at the last count" in service.said()
    assert service.stop() == 0 and service.mark()["ended"]

    service.start(**CONSOLE)
    gap = until(
        lambda: [r for r in service.records() if r["name"] == "pipeline.observer.gap"],
        "no record of the gap",
    )
    assert [r["pipeline.observer.loss.reason"] for r in gap] == ["stopped"]
    assert "the previous service was stopped; nothing was observed for" in service.said()


def test_a_locked_history_holds_nothing_up_and_every_run_is_stored(service: Service) -> None:
    service.start(**NO_EXPORT)
    path = service.state / "history.db"
    until(path.exists, "there is no history")
    inode = path.stat().st_ino
    lock = sqlite3.connect(path, isolation_level=None)
    until(lambda: _begin(lock), "it could not be locked")
    for number in range(5):
        service.nap(number)
        assert service.ask("/livez")
    lock.rollback()
    assert service.stop() == 0
    count = lock.execute("SELECT count(*) FROM runs WHERE system = 'naps of uid 0'").fetchone()[0]
    lock.close()
    assert (count, path.stat().st_ino) == (5, inode), service.said()
    assert not [
        p.name for p in service.state.iterdir() if "damaged" in p.name or "unreadable" in p.name
    ]


def _begin(lock: sqlite3.Connection) -> bool:
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError:
        return False
    return True


def test_it_runs_under_a_user_of_its_own_that_nobody_can_signal_and_keeps_it(
    service: Service,
) -> None:
    """The user owns the state directory, so the next start has the same one."""
    first = service.start()
    user = Path(f"/proc/{first.pid}").stat().st_uid
    ids = Path(f"/proc/{first.pid}/status").read_text()
    assert f"\nUid:\t{user}\t{user}\t{user}\t{user}\n" in ids
    others = {
        pid
        for pid in map(int, filter(str.isdecimal, os.listdir("/proc")))
        if pid != first.pid and owner(pid) == user
    }
    assert user not in (0, 65534) and not others
    kill = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "kill", "-9"]
    done = subprocess.run([*kill, str(first.pid)], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "not permitted" in done.stderr.lower()
    service.stop(signal.SIGTERM)
    again = service.start()
    assert Path(f"/proc/{again.pid}/status").read_text().count(f"\t{user}") >= 8
    assert service.state.stat().st_uid == user


def owner(pid: int) -> int:
    try:
        found = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return -1
    return int(found.partition("\nUid:")[2].split()[0])


FILES = 3000
SHELL = Path("/bin/sh").resolve().name


def test_what_the_first_task_opened_was_seen_or_is_a_blind_time_of_its_report(
    service: Service,
) -> None:
    """The hook of system calls is attached when the task is known: what it did before has a row."""
    service.start(
        OTEL_LOGS_EXPORTER="none", OTEL_METRICS_EXPORTER="none", OTEL_TRACES_EXPORTER="console"
    )
    place = service.folder / "files"
    place.mkdir()
    script = f"i=0; while [ $i -lt {FILES} ]; do : > {place}/$i; i=$((i+1)); done; exit 3"
    env = CLEAN | {NAP_RUN: "first"}
    assert subprocess.run(["sh", "-c", script], check=False, env=env).returncode == 3
    assert len(os.listdir(place)) == FILES

    def reports() -> list[dict[str, Any]]:
        found = json.loads(service.ask("/incidents", token=True) or '{"incidents": []}')
        return [row for row in found["incidents"] if row["run_id"] == "first"]

    (row,) = until(reports, "there is no report")
    report = json.loads(service.ask(f"/incidents/{row['id']}", token=True))
    late = [b for b in report["completeness"]["blind"] if "hooks were attached later" in b]
    metrics = service.ask("/metrics", token=True)
    assert service.stop() == 0
    (shell,) = [
        s for s in service.spans() if "process.usage.files.opened" in s and s["name"] == SHELL
    ]
    seen = shell["process.usage.files.opened"]
    assert seen <= FILES + 20
    if seen < FILES:
        assert len(late) == 1, (seen, report["completeness"])
        assert (
            'pipeline_observer_blind_count_total{pipeline_observer_blind_reason="late_attach"}'
            in metrics
        )
