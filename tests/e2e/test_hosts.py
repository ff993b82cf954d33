"""Two agents in pid, network and host-name namespaces, a gateway, an insights instance:
one run is spread over both "hosts", and what host b suffers from began on host a."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import missing
from tests.e2e.collector import ROOT, binary, free_port
from tests.livecheck import check_json, values
from tests.waiting import eventually

pytestmark = [pytest.mark.live, pytest.mark.e2e]
MEMORY = Path("/sys/fs/cgroup/memory")
NET = "10.78.0"
# Addresses in the host's own namespace: of each test process its own, because several
# suites may run.
OWN = os.getpid() % 120
GATEWAY = f"10.77.0.{OWN + 1}"
OUTSIDE = {1: f"10.79.{2 * OWN}", 2: f"10.79.{2 * OWN + 1}"}
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
RULES = "".join(
    f'[[rule]]\nenvironment = "JOB_RUN"\nargv = "{task}"\nsystem = "lab"\npipeline = "training"\n'
    f'task = "{task}"\nrun = "{{JOB_RUN}}"\n'
    for task in ("features", "train")
)


def listens(pid: int, port: int) -> bool:
    """Whether a socket of the process's network namespace listens on the port (proc(5))."""
    rows = Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]
    return any(row.split()[1].endswith(f":{port:04X}") and row.split()[3] == "0A" for row in rows)


class Hosts:
    """Two namespaces with a link between them, and one from each to us:
    nothing is forwarded, so no firewall has a say."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.tag = f"{os.getpid() % 10_000}"
        self.running: list[subprocess.Popen[bytes]] = []
        self.agents: dict[str, int] = {}

    def lay_out(self) -> None:
        for name in "ab":
            self.ip("netns", "add", self.space(name))
            self.ip("-n", self.space(name), "link", "set", "lo", "up")
        self.ip(
            "link",
            "add",
            "pair",
            "netns",
            self.space("a"),
            "type",
            "veth",
            "peer",
            "name",
            "pair",
            "netns",
            self.space("b"),
        )
        for number, name in enumerate("ab", 1):
            space, ours = self.space(name), f"kv{name}{self.tag}"
            self.ip("-n", space, "addr", "add", f"{NET}.{number}/24", "dev", "pair")
            self.ip("-n", space, "link", "set", "pair", "up")
            self.ip("link", "add", ours, "type", "veth", "peer", "name", "out", "netns", space)
            self.ip("addr", "add", f"{OUTSIDE[number]}.254/24", "dev", ours)
            self.ip("link", "set", ours, "up")
            self.ip("-n", space, "addr", "add", f"{OUTSIDE[number]}.1/24", "dev", "out")
            self.ip("-n", space, "link", "set", "out", "up")
            self.ip("-n", space, "route", "add", GATEWAY, "via", f"{OUTSIDE[number]}.254")
            if number == 1:
                self.ip("addr", "add", f"{GATEWAY}/32", "dev", ours)

    def space(self, name: str) -> str:
        return f"kwhost{name}{self.tag}"

    @staticmethod
    def ip(*words: str, check: bool = True) -> None:
        subprocess.run(["ip", *words], check=check, capture_output=True)

    def start(self, *command: str, **env: str) -> subprocess.Popen[bytes]:
        log = (self.place / f"{len(self.running)}.log").open("wb")
        with log:
            kept = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
            child = subprocess.Popen(
                command, env=kept | env, stdout=log, stderr=log, start_new_session=True, cwd=ROOT
            )
        self.running.append(child)
        return child

    def agent(self, name: str, port: int) -> None:
        """kwitness serve as pid 1's child of a pid namespace, with a host name of its own."""
        config = self.place / f"{name}.toml"
        config.write_text(
            "[core]\ninclude_addresses = true\ntask_grace_seconds = 1.0\n[privileges]\n"
            f"drop = false\n{RULES}"
        )
        inside = f"hostname host-{name} && exec {sys.executable} -m receiver serve -c {config}"
        shell = self.start(
            "ip",
            "netns",
            "exec",
            self.space(name),
            "unshare",
            "--pid",
            "--fork",
            "--mount-proc",
            "--uts",
            "sh",
            "-c",
            inside,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{GATEWAY}:{port}",
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        )

        def child() -> int | None:
            found = Path(f"/proc/{shell.pid}/task/{shell.pid}/children").read_text().split()
            return int(found[0]) if found else None

        own = eventually(child, "the agent's own process", ignoring=(OSError,))
        assert own is not None
        self.agents[name] = own
        inside_url = [
            "ip",
            "netns",
            "exec",
            self.space(name),
            sys.executable,
            "-m",
            "receiver",
            "check",
            "--ready",
            "-c",
            str(config),
        ]
        eventually(
            lambda: (
                subprocess.run(inside_url, capture_output=True, cwd=ROOT, check=False).returncode
                == 0
            ),
            f"agent {name}",
            seconds=60,
        )

    def job(
        self, name: str, code: str, *arguments: str, group: Path | None = None, run: str = "r1"
    ) -> subprocess.Popen[bytes]:
        program = self.place / f"{arguments[0]}.py"
        program.write_text(code)
        join = f"echo $$ > {group}/cgroup.procs; " if group is not None else ""
        inside = (
            f"nsenter -t {self.agents[name]} -p -n -u -m {sys.executable} -S {program} "
            f"{' '.join(arguments)}"
        )
        return self.start("sh", "-c", f"{join}exec {inside}", JOB_RUN=run)

    def close(self) -> None:
        for child in reversed(self.running):
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGTERM)
                try:
                    child.wait(15)
                except subprocess.TimeoutExpired:
                    os.killpg(child.pid, signal.SIGKILL)
                    child.wait()
        for name in "ab":
            self.ip("netns", "del", self.space(name), check=False)


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
    collector = binary()
    if collector is None:
        missing("e2e", "the Collector is not built (make collector)")
    grpc, own, health, insights, admin, telemetry = (free_port() for _ in range(6))
    out = tmp_path / "gateway"
    out.mkdir()
    files = {
        "OTELCOL_TRACES": "[file/traces]",
        "OTELCOL_METRICS": "[file/metrics]",
        "OTELCOL_OWN_LOGS": "[file/logs]",
    }
    hosts.start(
        str(collector),
        "--config",
        str(ROOT / "deploy/gateway/otel-gateway.yaml"),
        OTELCOL_GRPC=f"{GATEWAY}:{grpc}",
        OTELCOL_OWN=f"127.0.0.1:{own}",
        OTELCOL_HEALTH=f"127.0.0.1:{health}",
        OTELCOL_OUTPUT=str(out),
        OTELCOL_LOGS="[loadbalancing, file/logs]",
        OTELCOL_INSIGHTS=f"[127.0.0.1:{insights}]",
        OTELCOL_TELEMETRY_HOST="127.0.0.1",
        OTELCOL_TELEMETRY_PORT=str(telemetry),
        **files,
    )
    config, token = tmp_path / "insights.toml", tmp_path / "token"
    token.write_text("sesame\n")
    token.chmod(0o600)
    text = f'[admin]\nport = {admin}\ntoken_file = "{token}"\n[privileges]\ndrop = false\n'
    config.write_text(text + f'[insights]\ngrpc = "127.0.0.1:{insights}"\nhttp = ""\n')
    hosts.start(
        sys.executable,
        "-m",
        "receiver",
        "serve",
        "--mode",
        "insights",
        "-c",
        str(config),
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{own}",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
    )
    eventually(
        lambda: urllib.request.urlopen(f"http://127.0.0.1:{health}", timeout=1).status == 200,
        "the gateway",
        seconds=60,
        ignoring=(OSError,),
    )
    for name in "ab":
        hosts.agent(name, grpc)
    served = hosts.job("a", SERVER, "features", group=small)
    eventually(lambda: listens(hosts.agents["a"], 8080), "the feature server")
    trained = hosts.job("b", CLIENT, "train", f"{NET}.1")
    assert trained.wait(60) == 1 and served.wait(60) != 0

    def reports() -> list[dict[str, Any]]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{admin}/incidents", headers={"Authorization": "Bearer sesame"}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)["incidents"]
        return found

    (row, *more) = eventually(reports, "a report of the instance", seconds=90, ignoring=(OSError,))
    assert (
        not more
        and row["cause"] == "mem.cgroup_oom"
        and row["task"] == "train"
        and row["run_id"] == "r1"
    )
    asked = urllib.request.Request(
        f"http://127.0.0.1:{admin}/incidents/{row['id']}",
        headers={"Authorization": "Bearer sesame"},
    )
    with urllib.request.urlopen(asked, timeout=5) as answer:
        report = json.load(answer)
    lead = report["hypotheses"][0]
    assert (
        lead["culprit"]["host"] == "host-a"
        and lead["culprit"]["name"] == "features.py"
        and lead["confidence"] > 0.9
    )
    assert report["answers"]["what_started_it"][0]["by"] == "socket"
    assert set(lead["evidence"]) <= set(report["events"])
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


def records(out: Path) -> list[dict[str, Any]]:
    """All event records at the gateway; each is what the registry says."""
    found = []
    for line in (out / "logs.jsonl").read_text().splitlines():
        request = json.loads(line)
        assert not check_json(request)
        found += [
            values(r["attributes"])
            for x in request["resourceLogs"]
            for y in x["scopeLogs"]
            for r in y["logRecords"]
        ]
    return found


def of_insights(out: Path) -> dict[str, Any] | None:
    return next((r for r in records(out) if "pipeline.incident.host" in r), None)
