"""Two agents in pid, network and host-name namespaces, a gateway, an insights instance:
one run is spread over both "hosts", and what host b suffers from began on host a."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import missing
from tests.e2e.gateway import (
    of_insights,
    ports_of_a_gateway,
    records,
    start_gateway,
    start_insights,
)
from tests.e2e.two_hosts import NET, Hosts
from tests.waiting import eventually

pytestmark = [pytest.mark.live, pytest.mark.e2e]
MEMORY = Path("/sys/fs/cgroup/memory")
SERVER = """
import socket, sys, time
listening = socket.create_server(("0.0.0.0", 8080))
client, _ = listening.accept()
client.recv(1000)
held = []
for _ in range(400):
    held.append(bytearray(b"x" * (1 << 20)))
    time.sleep(0.02)
"""
CLIENT = """
import socket, sys, time
peer = socket.create_connection((sys.argv[2], 8080))
try:
    for _ in range(2000):
        peer.sendall(b"row " * 100)
        time.sleep(0.01)
except OSError as error:
    print("train: lost the feature server:", error, flush=True)
    sys.exit(1)
"""


def listens(pid: int, port: int) -> bool:
    """Whether a socket of the process's network namespace listens on the port (proc(5))."""
    rows = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    return any(row.split()[1].endswith(f":{port:04X}") and row.split()[3] == "0A" for row in rows)


@pytest.fixture
def hosts(live: None, tmp_path: Path) -> Iterator[Hosts]:
    for tool in ("ip", "unshare", "nsenter"):
        if shutil.which(tool) is None:
            missing("e2e", f"{tool} is not here (iproute2, util-linux)")
    if not (MEMORY / "memory.limit_in_bytes").exists():
        missing("e2e", "no v1 memory controller")
    found = Hosts(tmp_path)
    try:
        found.lay_out()
        yield found
    finally:
        found.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    group = MEMORY / f"kwitness-hosts-{os.getpid()}"
    group.mkdir()
    (group / "memory.limit_in_bytes").write_text(str(64 << 20))
    yield group
    for _ in range(50):
        try:
            group.rmdir()
            return
        except OSError:
            time.sleep(0.1)


def test_a_kill_on_one_host_explains_what_another_lost(
    hosts: Hosts, small: Path, tmp_path: Path
) -> None:
    ports, out = ports_of_a_gateway(), tmp_path / "gateway"
    out.mkdir()
    start_gateway(hosts, ports, out)
    start_insights(hosts, ports, tmp_path)
    eventually(ports.healthy, "the gateway", seconds=60, ignoring=(OSError,))
    for name in "ab":
        hosts.agent(name, ports.grpc)
    lose_the_feature_server(hosts, small)
    reports = eventually(
        lambda: ports.ask_insights("/incidents")["incidents"],
        "a report of the instance",
        seconds=90,
        ignoring=(OSError,),
    )
    (row, *more) = reports
    assert (
        not more
        and row["cause"] == "mem.cgroup_oom"
        and row["task"] == "train"
        and row["run_id"] == "r1"
    )
    lead = lead_of(ports.ask_insights(f"/incidents/{row['id']}"))
    told = eventually(
        lambda: of_insights(out),
        "the instance's own record, back through the gateway",
        seconds=60,
        ignoring=(OSError,),
    )
    assert told is not None
    assert told["pipeline.incident.host"] == "host-a" and told["pipeline.incident.id"] == row["id"]
    killed = next(r for r in records(out) if r["event.name"] == "process.oom_killed")
    assert killed["process.pid"] == lead["culprit"]["pid"]


def lose_the_feature_server(hosts: Hosts, small: Path) -> None:
    """The server on host a takes more memory than it may, while the job on host b uses it."""
    served = hosts.job("a", SERVER, "features", group=small)
    eventually(lambda: listens(hosts.agents["a"], 8080), "the feature server")
    trained = hosts.job("b", CLIENT, "train", f"{NET}.1")
    assert trained.wait(60) == 1 and served.wait(60) != 0


def lead_of(report: dict[str, Any]) -> dict[str, Any]:
    """The first hypothesis: it names the process on the other host."""
    lead: dict[str, Any] = report["hypotheses"][0]
    assert (
        lead["culprit"]["host"] == "host-a"
        and lead["culprit"]["name"] == "features.py"
        and lead["confidence"] > 0.9
    )
    assert report["answers"]["what_started_it"][0]["by"] == "socket"
    assert set(lead["evidence"]) <= set(report["events"])
    return lead
