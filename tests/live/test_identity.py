"""Which process is which: keys, creators, threads, tracers, and processes from before."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from receiver.events import Event, Exec, Exit, Fork, ProcessKey
from receiver.kernel.decode import decode
from receiver.text.redact import Redactor
from tests.live.conftest import Witness, python
from tests.waiting import executed

pytestmark = pytest.mark.live


def test_the_key_is_pid_and_start_time_of_proc(witness: Witness) -> None:
    child = python("import time; time.sleep(30)")
    try:
        fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
        tick_ns = 10**9 // os.sysconf("SC_CLK_TCK")
        event = witness.one(child.pid, Fork)
        assert event.process.start_boottime_ns // tick_ns == int(fields[19])
        assert event.parent.tgid == os.getpid()
    finally:
        child.kill()
        child.wait()


def test_processes_that_live_a_millisecond_are_whole(witness: Witness) -> None:
    pids = []
    for _ in range(200):
        child = subprocess.Popen(["/bin/true"], env={"AIRFLOW_CTX_DAG_ID": "d"})
        child.wait()
        pids.append(child.pid)
    execs = {e.process.tgid: e for e in witness.all(Exec)}
    exits = {e.process.tgid: e for e in witness.all(Exit)}
    for pid in pids:
        assert execs[pid].argv == ("/bin/true",)
        assert execs[pid].environ == ("AIRFLOW_CTX_DAG_ID=d",)
        assert exits[pid].process == execs[pid].process


def test_fork_only_workers_and_their_creator(witness: Witness) -> None:
    code = """
import os
for code in (0, 3):
    pid = os.fork()
    if not pid: os._exit(code)
    os.waitpid(pid, 0); print(pid)
"""
    child = python(code, stdout=subprocess.PIPE)
    out, _ = child.communicate()
    for pid, status in zip(map(int, out.split()), (0, 3), strict=True):
        fork = witness.one(pid, Fork)
        assert fork.parent.tgid == child.pid
        assert witness.one(pid, Exit).wait_status == status << 8
        assert not witness.of(pid, Exec)


def test_threads_make_no_fork_records(witness: Witness) -> None:
    before = sum(witness.source.ledger().filtered[1])
    child = python(
        "import threading\nfor _ in range(20):\n"
        " t = threading.Thread(target=int); t.start(); t.join()"
    )
    child.wait()
    assert len(witness.of(child.pid, Fork)) == 1
    assert sum(witness.source.ledger().filtered[1]) - before >= 20


def test_double_fork_keeps_the_creator(witness: Witness) -> None:
    code = """
import os
if not os.fork():
    daemon = os.fork()
    if not daemon:
        os.setsid(); os._exit(0)
    print(daemon, flush=True); os._exit(0)
os.wait()
"""
    child = python(code, stdout=subprocess.PIPE)
    out, _ = child.communicate()
    daemon = int(out)
    middle = witness.one(daemon, Fork).parent.tgid
    assert witness.one(middle, Fork).parent.tgid == child.pid


def test_a_traced_process_tells_tracer_and_real_parent(witness: Witness) -> None:
    child = python(
        "import os, sys; sys.stdin.read(); os.execv('/bin/true', ['true'])", stdin=subprocess.PIPE
    )
    seize = (
        "import ctypes, sys\nassert ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), 0, 0) == 0\n"
    )
    seize += "print('seized', flush=True); sys.stdin.read()"
    tracer = python(seize, str(child.pid), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert tracer.stdout
    assert tracer.stdout.readline() == "seized\n"
    assert child.stdin
    child.stdin.close()
    while not [e for e in witness.of(child.pid, Exec) if e.argv == ("true",)]:
        os.sched_yield()
    tracer.communicate("")
    child.wait()
    event = witness.of(child.pid, Exec)[-1]
    assert (event.parent.tgid, event.real_parent.tgid) == (tracer.pid, os.getpid())


def test_a_reused_pid_has_another_key(witness: Witness) -> None:
    """Through ns_last_pid, which makes the kernel hand out a number again."""
    last = Path("/proc/sys/kernel/ns_last_pid")
    if not last.exists():
        pytest.skip("this kernel has no ns_last_pid (CONFIG_CHECKPOINT_RESTORE)")
    keys: dict[int, set[ProcessKey]] = {}
    for _ in range(20):
        child = subprocess.Popen(["/bin/true"])
        child.wait()
        last.write_text(str(child.pid - 1))
        again = subprocess.Popen(["/bin/true"])
        again.wait()
        if again.pid == child.pid:
            keys[child.pid] = {e.process for e in witness.of(child.pid, Fork)}
    assert keys, "no pid was reused"
    assert all(len(found) >= 2 for found in keys.values())


def test_our_own_process_is_not_observed(witness: Witness) -> None:
    threading.Thread(target=int).start()
    assert witness.source.canary()
    own = [
        e for e in witness.drain() if getattr(e, "process", ProcessKey(0, 0)).tgid == os.getpid()
    ]
    assert own == []
    assert witness.source.ledger().filtered[3][0] > 0


def test_processes_from_before_are_learned_without_doubles(live: None) -> None:
    child = python("import time; time.sleep(30)", env={"AIRFLOW_CTX_DAG_ID": "old"})
    executed(child.pid)
    witness = Witness()
    try:
        found: list[Event] = [decode(raw, Redactor("off")) for raw in witness.source.existing()]
        mine = [e for e in found if getattr(e, "process", ProcessKey(0, 0)).tgid == child.pid]
        assert len(mine) == 1
        event = mine[0]
        assert getattr(event, "argv", ())[:3] == (sys.executable, "-I", "-S")
        assert getattr(event, "environ", ()) == ("AIRFLOW_CTX_DAG_ID=old",)
        assert getattr(event, "parent", ProcessKey(0, 0)).tgid == os.getpid()
        child.kill()
        child.wait()
        assert witness.one(child.pid, Exit).process == getattr(event, "process", None)
    finally:
        child.kill()
        child.wait()
        witness.source.close()
