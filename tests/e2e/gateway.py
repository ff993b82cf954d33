"""The gateway of deploy/gateway and the insights instance behind it, and what they hold."""

from __future__ import annotations

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from tests.conftest import missing
from tests.e2e.collector import ROOT, binary, free_port
from tests.e2e.two_hosts import GATEWAY, Hosts
from tests.livecheck import check_json, values

TOKEN = "sesame"


class Ports(NamedTuple):
    grpc: int  # of the gateway, for agents
    own: int  # of the gateway, for what the insights instance says itself
    health: int
    insights: int
    admin: int  # of the insights instance
    telemetry: int

    def healthy(self) -> bool:
        """Whether the gateway answers."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.health}", timeout=1) as answer:
            return bool(answer.status == 200)

    def ask_insights(self, path: str) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.admin}{path}", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
        return found


def ports_of_a_gateway() -> Ports:
    return Ports(*(free_port() for _ in Ports._fields))


def start_gateway(hosts: Hosts, ports: Ports, out: Path) -> None:
    collector = binary()
    if collector is None:
        missing("e2e", "the Collector is not built (make collector)")
    files = {
        "OTELCOL_TRACES": "[file/traces]",
        "OTELCOL_METRICS": "[file/metrics]",
        "OTELCOL_OWN_LOGS": "[file/logs]",
    }
    hosts.start(
        str(collector),
        "--config",
        str(ROOT / "deploy/gateway/otel-gateway.yaml"),
        OTELCOL_GRPC=f"{GATEWAY}:{ports.grpc}",
        OTELCOL_OWN=f"127.0.0.1:{ports.own}",
        OTELCOL_HEALTH=f"127.0.0.1:{ports.health}",
        OTELCOL_OUTPUT=str(out),
        OTELCOL_LOGS="[loadbalancing, file/logs]",
        OTELCOL_INSIGHTS=f"[127.0.0.1:{ports.insights}]",
        OTELCOL_TELEMETRY_HOST="127.0.0.1",
        OTELCOL_TELEMETRY_PORT=str(ports.telemetry),
        **files,
    )


def start_insights(hosts: Hosts, ports: Ports, place: Path) -> None:
    config, token = place / "insights.toml", place / "token"
    token.write_text(f"{TOKEN}\n")
    token.chmod(0o600)
    text = f'[admin]\nport = {ports.admin}\ntoken_file = "{token}"\n[privileges]\ndrop = false\n'
    config.write_text(text + f'[insights]\ngrpc = "127.0.0.1:{ports.insights}"\nhttp = ""\n')
    hosts.start(
        sys.executable,
        "-m",
        "receiver",
        "serve",
        "--mode",
        "insights",
        "-c",
        str(config),
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{ports.own}",
        OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
    )


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
