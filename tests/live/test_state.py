"""A service and its state directory: what it refuses, what it stores, and what it says
after a SIGKILL."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.e2e.collector import free_port
from tests.live.serving import (
    CLEAN,
    CONFIG,
    CONSOLE,
    KWITNESS,
    NAP_RUN,
    NO_EXPORT,
    ROOT,
    Service,
    until,
)

pytestmark = pytest.mark.live


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
    refused_beside(first.pid, service)
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
    assert reasons_of_gaps(service) == ["killed"]
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
    assert reasons_of_gaps(service) == ["stopped"]
    assert "the previous service was stopped; nothing was observed for" in service.said()


def refused_beside(first: int, service: Service) -> None:
    """A second service with the same directory ends at once, and names the first."""
    second = subprocess.run(
        [*KWITNESS, "serve", "-c", str(service.config)],
        env=CLEAN,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (second.returncode, len(second.stderr.splitlines())) == (75, 1), second.stderr
    assert f"in use by another kwitness service (process {first})" in second.stderr


def reasons_of_gaps(service: Service) -> list[str]:
    gaps = until(
        lambda: [r for r in service.records() if r["name"] == "pipeline.observer.gap"],
        "no record of the gap",
    )
    return [r["pipeline.observer.loss.reason"] for r in gaps]


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
