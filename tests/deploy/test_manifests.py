"""What is deployed, read by what will read it: Kubernetes' schemas, systemd's own analysis,
the real Collector, our own loader."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from receiver import semconv as sc
from receiver.service.config import load
from tests.conftest import missing
from tests.e2e.collector import binary

ROOT = Path(__file__).parent.parent.parent
KUBERNETES = sorted((ROOT / "deploy/kubernetes").glob("*.yaml"))
NEEDED = {"BPF", "PERFMON", "SETUID", "SETGID", "SETPCAP"}


def documents(path: Path) -> list[dict[str, Any]]:
    return [d for d in yaml.safe_load_all(path.read_text()) if d]


def everything() -> list[dict[str, Any]]:
    return [d for path in KUBERNETES for d in documents(path)]


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return found


@pytest.mark.parametrize("path", KUBERNETES, ids=lambda p: p.name)
@pytest.mark.parametrize("version", ["1.31", kubernetes_validate.latest_version()])
def test_manifests_are_what_kubernetes_takes(path: Path, version: str) -> None:
    for document in documents(path):
        kubernetes_validate.validate(document, version, strict=True)


def test_the_agent_asks_for_nothing_more_than_it_uses() -> None:
    found = everything()
    assert not [d for d in found if d["kind"].endswith(("Role", "RoleBinding"))]
    pods = {
        d["metadata"]["name"]: d["spec"]["template"]["spec"]
        for d in found
        if d["kind"] in ("DaemonSet", "Deployment", "StatefulSet")
    }
    assert set(pods) == {"kwitness", "otel-gateway", "insights"}
    for name, pod in pods.items():
        assert pod["automountServiceAccountToken"] is False
        assert pod.get("hostPID", False) == (name == "kwitness") and not pod.get("hostNetwork")
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["capabilities"]["drop"] == ["ALL"]
            assert set(context["capabilities"].get("add", ())) == (
                NEEDED if container["name"] == "kwitness" else set()
            )
            assert (
                context["readOnlyRootFilesystem"]
                and context["allowPrivilegeEscalation"] is False
                and "privileged" not in context
            )
            assert container["resources"]["limits"]["memory"] and container["livenessProbe"]
        for volume in pod["volumes"]:
            assert "hostPath" not in volume or volume["hostPath"]["path"] == "/var/log/containers"
    assert pods["kwitness"]["tolerations"] == [{"operator": "Exists"}]


def test_all_ways_of_deploying_name_the_same_images() -> None:
    of_compose = {s["image"] for s in compose()["services"].values()}
    of_pods = {
        c["image"]
        for d in everything()
        if d["kind"] in ("DaemonSet", "Deployment", "StatefulSet")
        for c in d["spec"]["template"]["spec"]["containers"]
    }
    assert of_pods <= of_compose
    assert all(
        re.search(r":v?\d+\.\d+\.\d+$", image) for image in of_compose
    )  # pinned, never "latest"
    version = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert version is not None and f"kwitness:{version[1]}" in of_compose
    collector = re.search(r"otelcol_version: (.*)", (ROOT / "tools/collector.yaml").read_text())
    assert (
        collector is not None
        and f"otel/opentelemetry-collector-contrib:{collector[1]}" in of_compose
    )


def test_the_image_of_compose_has_the_same_few_powers() -> None:
    services = compose()["services"]
    assert (
        services["kwitness"]["cap_drop"] == ["ALL"]
        and {c.partition(":-")[2].rstrip("}") or c for c in services["kwitness"]["cap_add"]}
        == NEEDED
    )
    assert services["kwitness"]["read_only"] is True and services["kwitness"]["pid"] == "host"
    for name, service in services.items():
        assert service["mem_limit"] and not service.get("privileged")
        assert "ALL" in service["cap_drop"], name
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", ()))
        assert not [
            v for v in service.get("volumes", ()) if v.startswith(("/:", "/var/run", "/run"))
        ]


@pytest.mark.parametrize(
    "text", [d["data"]["kwitness.toml"] for d in everything() if d["kind"] == "ConfigMap"]
)
def test_configurations_load(text: str, tmp_path: Path) -> None:
    path = tmp_path / "kwitness.toml"
    path.write_text(text)
    load(path)


def test_the_configuration_of_compose_loads() -> None:
    assert [r.task for r in load(ROOT / "deploy/compose/kwitness.toml").rule] == [
        "extract",
        "transform",
        "export",
    ]


@pytest.mark.e2e
@pytest.mark.parametrize(
    "where",
    ["otel-collector.yaml", "deploy/gateway/otel-gateway.yaml", "deploy/kubernetes/agent.yaml"],
)
def test_the_collector_takes_its_files(where: str, tmp_path: Path) -> None:
    collector = binary()
    if collector is None:
        missing("e2e", "the Collector is not built (make collector)")
    path = ROOT / where
    if "kubernetes" in where:
        path = tmp_path / "otel.yaml"
        path.write_text(
            next(
                d["data"]["otel-agent.yaml"]
                for d in documents(ROOT / where)
                if d["kind"] == "ConfigMap"
            )
        )
    done = subprocess.run(
        [str(collector), "validate", "--config", str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={"OTELCOL_OUTPUT": str(tmp_path), "POD_IP": "127.0.0.1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_unit_is_confined() -> None:
    unit = ROOT / "deploy/systemd/kwitness.service"
    text = unit.read_text()
    assert "Type=notify" in text and "WatchdogSec=" in text
    capabilities = [
        line.partition("=")[2]
        for line in text.splitlines()
        if "Capabilit" in line.partition("=")[0]
    ]
    assert capabilities == ["CAP_BPF CAP_PERFMON CAP_SETPCAP"] * 2
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--threshold=30", str(unit)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-300:]  # at most 3.0
    said = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False
    ).stderr
    faults = [
        line
        for line in said.splitlines()
        if "kwitness.service" in line and "is not executable" not in line and "man " not in line
    ]
    assert not faults, faults


def test_dashboards_ask_for_metrics_that_exist() -> None:
    """Names as Prometheus makes them of ours; the queries themselves run in tests/stack."""
    known = set()
    for name in dir(sc):
        if name.startswith("METRIC_"):
            metric, instrument, unit, _ = getattr(sc, name)
            base = metric.replace(".", "_") + {"s": "_seconds", "By": "_bytes"}.get(unit, "")
            known |= (
                {base + "_total"}
                if instrument == "counter"
                else {base, *(base + end for end in ("_bucket", "_count", "_sum"))}
            )
    asked = set()
    for path in (ROOT / "deploy/grafana").rglob("*.*"):
        asked |= set(
            re.findall(r"\b((?:pipeline|otel_sdk)_\w+?)(?=[{\[)\s])(?!\s*=)", path.read_text())
        )
    labels = {"pipeline_name", "pipeline_task_name"}
    unknown = {
        a
        for a in asked - labels
        if a not in known
        and not a.startswith(("pipeline_observer_event_kind", "pipeline_observer_loss"))
    }
    assert not {
        u
        for u in unknown
        if u.endswith(("_total", "_bucket", "_count", "_seconds", "_bytes", "_size"))
    }, unknown
    assert len(asked & known) > 15


def test_generated_dashboards_are_whole() -> None:
    for path in (ROOT / "deploy/grafana/dashboards").glob("*.json"):
        board = json.loads(path.read_text())
        assert board["uid"] == f"kwitness-{path.stem}" and len(
            {p["id"] for p in board["panels"]}
        ) == len(board["panels"])
        assert all(
            t["expr"] and t["datasource"]["uid"] in ("prometheus", "loki")
            for p in board["panels"]
            for t in p["targets"]
        )
