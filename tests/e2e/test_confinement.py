"""The confined service does all of its work: a whole observed pipeline, both protocols, both loops,
and nothing is refused."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.kernel import landlock, seccomp
from receiver.kernel.spare_user import SPARE
from tests.conftest import missing
from tests.e2e.collector import PIPELINE, Collector, free_port
from tests.live.installation import PYTHON, installed

pytestmark = [pytest.mark.live, pytest.mark.e2e]
NOBODY = pwd.getpwnam("nobody").pw_uid
BOTH = 1 << 38 | 1 << 39  # CAP_PERFMON, CAP_BPF
LOOPS = {"uvloop": "", "asyncio": "without_uvloop"}


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    if why := seccomp.missing():
        missing("live", why)
    with installed(NOBODY) as place:
        yield place


WITH_HELPER = '[privileges]\nhelper = "always"\n'


class Service:
    """`kwitness serve` as root starts it, and its processes."""

    def __init__(
        self,
        home: Path,
        loop: str = "uvloop",
        *options: str,
        settings: str = "",
        state: str = "state",
        before: tuple[str, ...] = (),
        env: dict[str, str] | None = None,
    ) -> None:
        self.port = free_port()
        self.home = home
        config = home / "kwitness.toml"
        grace = "task_grace_seconds = 1\nrun_grace_seconds = 1\nheartbeat_seconds = 1"
        config.write_text(
            f'[admin]\nport = {self.port}\n[state]\ndirectory = "{home}/{state}"\n[core]\n{grace}\n'
            f"{settings}\n"
        )
        path = [str(home)] if not LOOPS[loop] else [str(home / LOOPS[loop]), str(home)]
        base = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": ":".join(path),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.process = subprocess.Popen(
            [*before, PYTHON, "-m", "receiver", "serve", "-c", str(config), *options],
            env=base | (env or {"OTEL_SDK_DISABLED": "true"}),
            cwd=home,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        said = []
        for line in self.process.stderr:
            said.append(line)
            if "attached to" in line or "receiving OTLP" in line:
                break
        else:
            self.process.communicate(timeout=30)
            raise AssertionError(f"it did not start: {''.join(said)}")
        self.starting = "".join(said)

    def family(self) -> dict[str, int]:
        """Pids of its children by their names."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (fields := status(int(entry.name))).get("PPid") == str(
                self.process.pid
            ):
                found[fields["Name"]] = int(entry.name)
        return found

    def ask(self, path: str, body: bytes | None = None) -> str:
        token = (self.home / "state" / "admin.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.read().decode())

    def until(self, path: str, wanted: str, seconds: float = 30) -> str:
        deadline = time.monotonic() + seconds
        while wanted not in (said := self.ask(path)):
            assert time.monotonic() < deadline, f"{wanted!r} is not in {said[:2000]}"
            time.sleep(0.1)
        return said

    def stop(self) -> str:
        """What it logged after its start."""
        self.process.send_signal(signal.SIGTERM)
        try:
            _, log = self.process.communicate(timeout=30)
        finally:
            self.process.kill()
        assert self.process.returncode == 0, log
        return log


def status(pid: int) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return {}
    return dict(re.findall(r"^(\w+):[ \t]*(.*)$", text, re.M))


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


def test_its_three_processes_hold_nothing_and_nobody_can_signal_the_helper(
    live: None, home: Path
) -> None:
    service = Service(home, settings=WITH_HELPER)
    try:
        family = service.family()
        assert family.keys() == {"kwitness-attach", "kwitness-denied"}
        helper, counter = status(family["kwitness-attach"]), status(family["kwitness-denied"])
        own = status(service.process.pid)
        assert own["Uid"].split() == [str(NOBODY)] * 4
        assert int(helper["Uid"].split()[0]) in SPARE
        for each, capabilities in ((own, 0), (helper, BOTH), (counter, 0)):
            found = [
                int(each[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
            ]
            assert found == [0, capabilities, capabilities, 0, 0]
            assert (each["NoNewPrivs"], each["Seccomp"], each["Groups"]) == ("1", "2", "")
        assert helper["Threads"] == counter["Threads"] == "1"
        if shutil.which("setpriv"):
            for pid in family.values():
                for number in ("KILL", "STOP", "TERM"):
                    attempt = [
                        "setpriv",
                        f"--reuid={NOBODY}",
                        f"--regid={NOBODY}",
                        "--clear-groups",
                        "kill",
                        f"-{number}",
                        str(pid),
                    ]
                    done = subprocess.run(attempt, capture_output=True, text=True, check=False)
                    assert done.returncode != 0 and "not permitted" in done.stderr.lower(), (
                        done.stderr
                    )
        assert service.ask("/readyz") == "ready\n"
        assert service.family() == family
    finally:
        service.stop()
    for pid in family.values():
        deadline = time.monotonic() + 10
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not Path(f"/proc/{pid}").exists()


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


@pytest.mark.parametrize("more", ["", ",+setpcap"])
def test_in_a_container_the_bounding_set_is_emptied_where_that_may_be_done(
    live: None, home: Path, more: str
) -> None:
    volume = home / "volume"
    volume.mkdir(exist_ok=True)
    volume.chmod(
        0o777
    )  # as an emptyDir: the state directory in it is still to be made, without CAP_CHOWN
    few = f"-all,+bpf,+perfmon,+setuid,+setgid{more}"
    before = ("setpriv", f"--bounding-set={few}", f"--inh-caps={few}")
    service = Service(home, state=f"volume/state{len(more)}", before=before, settings=WITH_HELPER)
    try:
        left = 0 if more else BOTH | 1 << 6 | 1 << 7
        family = service.family()
        assert int(status(family["kwitness-attach"])["Uid"].split()[0]) in SPARE
        for pid, keeps in (
            (service.process.pid, 0),
            (family["kwitness-attach"], BOTH),
            (family["kwitness-denied"], 0),
        ):
            found = status(pid)
            assert [int(found[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")] == [
                keeps,
                keeps,
                left,
            ]
            assert (found["NoNewPrivs"], found["Seccomp"]) == ("1", "2")
        history = volume / f"state{len(more)}" / "history.db"
        deadline = time.monotonic() + 20
        while not history.exists():  # a thread makes it after the start
            assert time.monotonic() < deadline
            time.sleep(0.05)
        own = int(status(service.process.pid)["Uid"].split()[0])
        assert own in SPARE and history.stat().st_uid == own
    finally:
        service.stop()


def test_a_named_helper_user_and_no_filters(live: None, home: Path) -> None:
    settings = '[privileges]\nhelper = "always"\nconfine = "off"\nhelper_user = "daemon"\n'
    service = Service(home, settings=settings)
    try:
        family = service.family()
        assert family.keys() == {"kwitness-attach"}
        helper = status(family["kwitness-attach"])
        assert helper["Uid"].split() == [str(pwd.getpwnam("daemon").pw_uid)] * 4
        assert (helper["Seccomp_filters"], int(helper["CapEff"], 16)) == (
            "1",
            BOTH,
        )  # the one against io_uring
    finally:
        service.stop()


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


def test_the_source_without_ebpf_says_what_the_drop_hides(live: None, home: Path) -> None:
    """Command lines are open to everybody; the environment of another user's process is not."""
    rule = (
        '[kernel]\nsource = "netlink"\n[[rule]]\nargv = "*/nightly.sh"\n'
        'system = "cron"\npipeline = "nightly"\ntask = "load {0}"\n'
    )
    service = Service(home, settings=rule)
    try:
        script = home / "nightly.sh"
        script.write_text('read line; exec sleep "$line"\n')
        with subprocess.Popen(
            ["bash", str(script)],
            env={"PATH": "/usr/bin:/bin", "AIRFLOW_CTX_DAG_ID": PIPELINE},
            stdin=subprocess.PIPE,
        ) as running:
            said = service.until("/tree", "of nightly")
            service.until("/metrics", 'pipeline_observer_event_kind="process_sample"')
            running.communicate(b"0.1\n", timeout=30)
        assert PIPELINE not in said
    finally:
        service.stop()
    log = service.starting
    assert "tasks that only an environment names" in log and "privileges.drop = false" in log
