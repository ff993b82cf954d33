"""The confined service does all of its work: a whole observed pipeline, both protocols, both loops,
and nothing is refused."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from receiver.kernel import landlock
from tests.conftest import missing
from tests.e2e.collector import PIPELINE, Collector, free_port
from tests.e2e.confined import LOOPS, NOBODY, Service, status
from tests.live.installation import PYTHON

pytestmark = [pytest.mark.live, pytest.mark.e2e]


def work(service: Service, task: str, script: str) -> int:
    """Runs the script once its task is known: from then on its files are followed."""
    go = service.home / "work" / f"go-{task}"
    go.unlink(missing_ok=True)
    env = {
        "PATH": "/usr/bin:/bin",
        "AIRFLOW_CTX_DAG_ID": PIPELINE,
        "AIRFLOW_CTX_TASK_ID": task,
        "AIRFLOW_CTX_DAG_RUN_ID": "manual_1",
        "AIRFLOW_CTX_TRY_NUMBER": "1",
    }
    waits = f"until [ -e {go} ]; do sleep 0.05; done; {script}"
    with subprocess.Popen(
        ["bash", "-c", waits],
        env=env,
        cwd=go.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        service.until("/tree", f"airflow task {task} of {PIPELINE}")
        go.touch()
        return running.wait(60)


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_whole_pipeline_is_observed_and_nothing_is_refused(
    live: None, collector: Collector, home: Path, loop: str, protocol: str
) -> None:
    port = collector.grpc if protocol == "grpc" else collector.http
    # a name, so that it is resolved
    export = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://localhost:{port}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
    }
    (home / "work").mkdir(exist_ok=True)
    service = Service(home, loop, env=export)
    try:
        assert ("uvloop" in Path(f"/proc/{service.process.pid}/maps").read_text()) == (
            loop == "uvloop"
        )
        crash = f"{PYTHON} -S -c 'import ctypes; ctypes.string_at(0)'"
        # known by hooks that the helper attaches
        torn = "bash -c 'exec 3> torn; echo half >&3; kill -9 $$'; cat torn > c"
        fails = f"{torn}; mv c d; rm d; {crash}; sleep 0.2; exit 3"
        assert work(service, "extract", fails) == 3
        refused = f"{PYTHON} -S -c 'import socket; socket.create_connection((\"127.0.0.1\", 1))'"
        assert work(service, "load", f"{refused} || exit 5") == 5
        service.until("/incidents", f'"pipeline":"{PIPELINE}","task":"load"')
        said = service.until("/incidents", f'"pipeline":"{PIPELINE}","task":"extract"')
        found = json.loads(said)["incidents"]
        number = next(row["id"] for row in found if row["pipeline"] == PIPELINE)
        for form in ("text", "page", "json"):
            assert service.ask(f"/incidents/{number}?form={form}")
        assert "reports" in service.ask("/alerts", b'{"pipeline": "%s"}' % PIPELINE.encode())
        service.ask("/tree")
        said = service.until("/metrics", "otel_sdk_exporter_span_exported_total")
        assert "denied" not in said
        for pid in (service.process.pid, *service.family().values()):
            assert status(pid)["Seccomp"] == "2"
    finally:
        log = service.stop()
    assert "refused" not in log and "confinement" not in log and "items exported, 0 not" in log
    collector.stop()
    tasks = {s["name"]: s for s in collector.spans(PIPELINE) if s["name"].startswith("task ")}
    assert {"task extract", "task load"} <= tasks.keys()
    names = {r["eventName"] for r in collector.logs(PIPELINE)}
    assert {"file.tainted_read", "pipeline.task.end"} <= names
    assert (home / "state" / "incidents" / f"{number}.json").exists()


def test_check_lists_the_confinement(live: None, home: Path) -> None:
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(home), "PYTHONDONTWRITEBYTECODE": "1"}

    def check(*options: str, before: tuple[str, ...] = ()) -> str:
        command = [*before, PYTHON, "-m", "receiver", "check", *options]
        return subprocess.run(
            command, env=env, cwd=home, capture_output=True, text=True, check=False
        ).stdout

    lines = [line.strip() for line in check().splitlines()]
    abi = landlock.version()
    landlocked = f"Landlock (ABI {abi})" if abi else "no Landlock in this kernel"
    assert f"confinement of serve: seccomp filter, refused calls are counted; {landlocked}" in lines
    assert "capability bounding set: is emptied" in lines
    assert any(
        re.fullmatch(r"helper: user 6\d{4}, which no other process has", line) for line in lines
    )
    assert any(re.fullmatch(r"service: user 6\d{4}, which is its own", line) for line in lines)
    found = json.loads(
        check("--json", before=("setpriv", "--bounding-set=-all,+bpf,+perfmon", "--inh-caps=-all"))
    )["confinement"]
    assert (found["landlock"], found["seccomp"]) == (abi, "")
    assert found["bounding_set"].startswith("CAP_SETPCAP is missing")


@pytest.mark.parametrize("loop", LOOPS)
def test_insights_is_confined_too(home: Path, loop: str) -> None:
    settings = f'[insights]\ngrpc = "127.0.0.1:{free_port()}"\nhttp = "127.0.0.1:{free_port()}"\n'
    service = Service(home, loop, "--mode", "insights", settings=settings)
    try:
        assert service.family().keys() == {"kwitness-denied"}
        own = status(service.process.pid)
        assert (own["Seccomp"], own["NoNewPrivs"], own["Uid"].split()[0]) == ("2", "1", str(NOBODY))
        assert "denied" not in service.ask("/metrics")
    finally:
        log = service.stop()
    assert "refused" not in log and "confinement" not in log


def test_what_it_opens_late_is_still_readable(live: None, home: Path) -> None:
    """Landlock: what is not listed is closed even to its own user; what is listed is not."""
    if not landlock.version():
        missing("landlock", "this kernel has no Landlock")
    code = (
        "import sys; from receiver.kernel.confinement import Confinement; "
        "from receiver.kernel.privileges import drop\n"
        "guard = Confinement(); drop('nobody'); guard.service([sys.argv[1]])\n"
        "from pathlib import Path\n"
        "print(Path(sys.argv[1], 'f').read_text())\n"
        "try: Path(sys.argv[2], 'f').read_text()\n"
        "except PermissionError: print('closed')\n"
        "import xml.dom.minidom, zoneinfo, encodings.cp1252; print(zoneinfo.ZoneInfo('UTC').key)\n"
    )
    for name in ("listed", "other"):
        (home / "data" / name).mkdir(parents=True)
        (home / "data" / name / "f").write_text(name)
    os.chmod(home / "data", 0o755)
    env = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": f"{home}/receiver/..",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    outside = Path("/var/tmp") / f"kwitness-outside-{os.getpid()}"
    shutil.copytree(home / "data", outside)
    try:
        command = [PYTHON, "-c", code, str(outside / "listed"), str(outside / "other")]
        done = subprocess.run(
            command, env=env, cwd="/", capture_output=True, text=True, check=False
        )
    finally:
        shutil.rmtree(outside)
    assert done.stdout.split() == ["listed", "closed", "UTC"], done.stderr
