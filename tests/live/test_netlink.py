"""The fallback source over the same workload as the BPF half, and the choice between the two."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from receiver.attribution.declared import DECLARED
from receiver.errors import PrivilegeError
from receiver.events import (
    Connection,
    EventKind,
    Exec,
    Existing,
    Exit,
    Fork,
    LossReason,
    OomKill,
    ProcessKey,
    ProcessSample,
)
from receiver.kernel import choose
from receiver.kernel.choose import open_source
from receiver.kernel.decode import decode
from receiver.kernel.netlink import NetlinkSource
from receiver.kernel.source import LiveSource
from receiver.kernel.source_config import SourceConfig
from receiver.text.redact import Redactor
from tests.live.commands import run
from tests.live.conftest import Witness, python
from tests.waiting import eventually, executed

pytestmark = pytest.mark.live


class Listener(Witness):
    """The same, without BPF."""

    def __init__(self) -> None:
        self.source = NetlinkSource(SourceConfig(), DECLARED.capture)  # type: ignore[assignment]
        self.events = []


@pytest.fixture(params=["ebpf", "netlink"])
def either(request: pytest.FixtureRequest, live: None) -> Iterator[Witness]:
    found = Witness() if request.param == "ebpf" else Listener()
    yield found
    found.source.close()


def settle(witness: Witness, pid: int) -> Exit:
    return eventually(lambda: witness.of(pid, Exit), "an exit")[0]


def test_the_same_workload_gives_the_same_lifecycle(either: Witness) -> None:
    child = subprocess.Popen(
        ["/bin/sh", "-c", "sleep 0.2; sh -c 'sleep 0.2; exit 3'; sh -c 'kill -9 $$'; true"],
        env={"AIRFLOW_CTX_DAG_ID": "etl", "AIRFLOW_CTX_API_TOKEN": "hush", "SECRET": "hush"},
    )
    # as a service would, while they live
    eventually(lambda: either.drain() and child.poll() is not None, "the end of the script")
    end = settle(either, child.pid)
    below = either.descendants(child.pid)
    statuses = sorted(e.wait_status for e in either.all(Exit) if e.process.tgid in below)
    assert end.wait_status == 0
    assert statuses == [0, 0, 9, 3 << 8]
    commands = {e.argv for e in either.all(Exec) if e.process.tgid in below}
    assert ("sleep", "0.2") in commands and ("sh", "-c", "sleep 0.2; exit 3") in commands
    first = either.of(child.pid, Exec)[0]
    assert first.environ == ("AIRFLOW_CTX_DAG_ID=etl",)
    assert first.executable.endswith(("/dash", "/sh", "/bash"))
    assert all(
        f.process.start_boottime_ns <= f.time_boottime_ns + 20_000_000 for f in either.all(Fork)
    )


def test_what_a_process_had_used(either: Witness, tmp_path: Path) -> None:
    child = python(
        """
import os, sys, threading, time
d = bytearray(40 << 20); d[::4096] = b"x" * len(d[::4096])
def burn():
    while time.thread_time() < 0.2: pass
t = threading.Thread(target=burn); t.start(); burn(); t.join()
f = os.open(sys.argv[1], 65)
os.write(f, b"x" * 50_000)
""",
        str(tmp_path / "o"),
    )
    child.wait()
    end = settle(either, child.pid)
    assert 0.38 < end.cpu_runtime_ns / 1e9 < 2
    assert 40 << 20 < end.peak_rss_bytes < 80 << 20
    assert 50_000 - 1024 <= end.write_call_bytes < 60_000  # taskstats counts in whole KiB


def test_an_oom_kill_is_told_by_its_cgroup(either: Witness, memory_cgroup: Path) -> None:
    child = python(
        "input(); d = bytearray(200 << 20); d[::4096] = b'x' * len(d[::4096])",
        stdin=subprocess.PIPE,
    )
    (memory_cgroup / "cgroup.procs").write_text(str(child.pid))
    either.drain()
    if isinstance(either, Listener):
        processes = either.source.processes  # type: ignore[attr-defined]
        processes.remember_group(child.pid, "/" + memory_cgroup.name)
    child.communicate("\n")
    settle(either, child.pid)
    kill = either.one(child.pid, OomKill)
    assert kill.memory_cgroup == "/" + memory_cgroup.name
    assert kill.limit_bytes == 48 << 20


def test_a_plain_kill_is_no_oom_kill(either: Witness, memory_cgroup: Path) -> None:
    child = python("input()", stdin=subprocess.PIPE)
    (memory_cgroup / "cgroup.procs").write_text(str(child.pid))
    either.drain()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert settle(either, child.pid).wait_status == 9
    assert either.of(child.pid, OomKill) == []


def test_samples_of_both_agree_with_proc(either: Witness) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with either.source.watching_self():
            child = python(
                "import socket, sys; c = socket.create_connection(('127.0.0.1', int(sys.argv[1])));"
                "d = bytearray(30 << 20); d[::4096] = b'x' * len(d[::4096]); "
                "print('up', flush=True); input()",
                str(server.getsockname()[1]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert child.stdout is not None and child.stdout.readline() == "up\n"
            either.drain()
        there, _ = server.accept()
        found = [decode(raw, Redactor("off")) for raw in either.source.sample()]
        own = [e for e in found if isinstance(e, ProcessSample) and e.process.tgid == child.pid]
        links = [e for e in found if isinstance(e, Connection) and e.process.tgid == child.pid]
        assert len(own) == 1 and 30 << 20 < own[0].anon_bytes < 60 << 20 and own[0].threads == 1
        assert [e.peer_port for e in links] == [server.getsockname()[1]]
        child.communicate("\n")
        there.close()


def test_bytes_of_ended_threads_count_and_of_reaped_children_do_not(
    either: Witness, tmp_path: Path
) -> None:
    code = """
import os, subprocess, sys, threading
def write(size):
    f = os.open(sys.argv[1], 65); os.write(f, b"x" * size); os.close(f)
t = threading.Thread(target=write, args=(1 << 20,)); t.start(); t.join()
subprocess.run(["head", "-c", "3000000", "/dev/zero"], stdout=open(sys.argv[1], "wb"))
print("up", flush=True); input()
"""
    with either.source.watching_self():
        child = python(code, str(tmp_path / "o"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout is not None and child.stdout.readline() == "up\n"
        either.drain()
    found = [decode(raw, Redactor("off")) for raw in either.source.sample()]
    (own,) = [e for e in found if isinstance(e, ProcessSample) and e.process.tgid == child.pid]
    assert 1 << 20 <= own.write_call_bytes < 2 << 20
    child.communicate("\n")


def test_what_lives_already_is_listed_once(either: Witness) -> None:
    child = python("input()", stdin=subprocess.PIPE)
    executed(child.pid)
    own = [
        e
        for raw in either.source.existing()
        if isinstance(e := decode(raw, Redactor()), Existing) and e.process.tgid == child.pid
    ]
    child.communicate("\n")
    assert len(own) == 1 and own[0].argv[-1] == "input()" and own[0].parent.tgid == os.getpid()


def test_the_ledger_of_the_fallback_closes(live: None) -> None:
    listener = Listener()
    child = python("pass")
    child.wait()
    settle(listener, child.pid)
    events = listener.drain()
    ledger = listener.source.ledger()
    for kind in (EventKind.FORK, EventKind.EXEC, EventKind.EXIT):
        decoded = sum(type(e).__name__.upper() == kind.name for e in events)
        assert ledger.submitted[kind] == decoded
        assert ledger.seen[kind] == decoded + sum(ledger.filtered[kind]) + sum(ledger.lost[kind])
    listener.source.close()


def test_an_overflow_is_counted_as_a_loss(live: None) -> None:
    listener = Listener()
    connector = listener.source._connector  # type: ignore[attr-defined]
    connector.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    for _ in range(200):
        subprocess.run(["/bin/true"], check=True)
    listener.drain()
    assert listener.source.ledger().lost[EventKind.FORK][LossReason.RING_FULL] > 0
    listener.source.close()


def test_each_exit_has_its_resources_while_processes_come_and_go(live: None) -> None:
    """An exit may be read later than the last look at the resources: then they are read again."""
    listener = Listener()
    program = "for i in $(seq 300); do /bin/true; done"
    churn = subprocess.Popen(["/bin/bash", "-c", program])
    while not listener.of(churn.pid, Exit):
        listener.drain()
    churn.wait()
    below = listener.descendants(churn.pid)
    ends = [e for e in listener.all(Exit) if e.process.tgid in below]
    assert len(ends) >= 300 and [e for e in ends if not e.peak_rss_bytes] == []
    listener.source.close()


def test_auto_falls_back_and_says_so(
    live: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(*_: object, **__: object) -> LiveSource:
        raise PrivilegeError("CAP_BPF missing")

    monkeypatch.setattr(choose, "LiveSource", refused)
    with caplog.at_level("WARNING", "kwitness"):
        source = open_source(SourceConfig(), DECLARED.capture)
    assert isinstance(source, NetlinkSource) and "CAP_BPF missing" in caplog.text
    source.close()
    with pytest.raises(PrivilegeError):
        open_source(SourceConfig(source="ebpf"), DECLARED.capture)


def test_a_run_without_ebpf_says_what_it_cannot_see(live: None) -> None:
    done = run("run", "--source", "netlink", "--json", "--", "sh", "-c", "sleep 0.1; exit 4")
    facts = json.loads(done.stdout)
    assert done.returncode == 4 and facts["execution"]["outcome"] == "failure"
    assert any("who killed whom" in what for what in facts["completeness"]["blind"])


def test_net_admin_alone_is_enough_for_the_fallback(live: None) -> None:
    caps = ["setpriv", "--bounding-set=-all,+net_admin", "--inh-caps=-all"]
    done = run("run", "--json", "--", "sh", "-c", "exit 4", before=caps)
    assert done.returncode == 4, done.stderr
    assert "CAP_BPF" in done.stderr and json.loads(done.stdout)["completeness"]["blind"]


def test_without_btf_it_goes_on_without_ebpf(live: None) -> None:
    hidden = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /sys/kernel/btf && exec "$@"', "sh"]
    done = run("run", "--json", "--", "sh", "-c", "sleep 0.1; exit 5", before=hidden)
    assert done.returncode == 5 and "no BTF" in done.stderr
    assert json.loads(done.stdout)["execution"]["outcome"] == "failure"


async def test_connections_are_sampled_inside_of_an_event_loop(live: None) -> None:
    """As the service does it: pyroute2's own classes refuse a thread whose loop is running."""
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    program = (
        f"import socket, sys; s = socket.create_connection(('127.0.0.1', {port})); "
        "print(flush=True); sys.stdin.read()"
    )
    listener = Listener()
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()
            listener.drain()
            listener.source.watch([ProcessKey(child.pid, 0)])
            found = [
                event
                for raw in listener.source.sample()
                if isinstance(event := decode(raw, Redactor()), Connection)
            ]
        finally:
            child.kill()
            listener.source.close()
            server.close()
    assert [(event.process.tgid, event.peer_port) for event in found] == [(child.pid, port)]
