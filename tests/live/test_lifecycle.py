"""Fork, exec, title, exit on the real kernel, each fact against what the test itself did."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from receiver.events import (
    Event,
    Exec,
    Exit,
    Fork,
    ImageFlag,
    OpenFile,
    ProcessKey,
    StdioKind,
    Title,
)
from receiver.kernel.decode import decode
from receiver.text.redact import Redactor
from tests.live.conftest import Witness, python
from tests.waiting import executed

pytestmark = pytest.mark.live


def test_exec_tells_argv_paths_ids_and_parent(witness: Witness, tmp_path: Path) -> None:
    child = subprocess.Popen(["/bin/sleep", "0.01", "0"], cwd=tmp_path, user=65534, group=65534)
    child.wait()
    event = witness.one(child.pid, Exec)
    assert event.argv == ("/bin/sleep", "0.01", "0")
    assert event.argc == 3
    assert event.executable == str(Path("/bin/sleep").resolve())
    assert event.working_directory == str(tmp_path)
    assert (event.uid, event.gid, event.parent.tgid) == (65534, 65534, os.getpid())
    assert event.real_parent == ProcessKey(0, 0)
    assert event.pid_namespace_inode == Path("/proc/self/ns/pid").stat().st_ino
    assert event.mount_namespace_inode == Path("/proc/self/ns/mnt").stat().st_ino
    assert event.network_namespace_inode == Path("/proc/self/ns/net").stat().st_ino
    assert event.comm == "sleep"
    assert event.image_flags & ~(ImageFlag.ROOT_OWNS | ImageFlag.USER_OWNS) == 0


def test_paths_are_those_that_the_process_sees(witness: Witness, tmp_path: Path) -> None:
    """In a root directory of its own, as in a container."""
    code = (
        f"import os; os.chroot({str(tmp_path)!r}); os.chdir('/in'); os.open('/in/out', "
        "os.O_CREAT | os.O_WRONLY); os.abort()"
    )
    (tmp_path / "in").mkdir()
    child = python(code)
    child.wait()
    assert "/in/out" in {e.path for e in witness.of(child.pid, OpenFile)}


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


def test_cgroup_paths_are_those_of_proc(witness: Witness) -> None:
    child = python("print(open('/proc/self/cgroup').read())", stdout=subprocess.PIPE)
    out, _ = child.communicate()
    rows = [line.split(":", 2) for line in out.split()]
    paths = [p for _, controllers, p in rows if "memory" in controllers.split(",")] or [
        p for h, _, p in rows if h == "0"
    ]
    assert witness.of(child.pid, Exec)[-1].memory_cgroup == paths[0]


def test_stdio_inodes_link_the_stages_of_a_pipe(witness: Witness, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with out.open("w") as target:
        first = subprocess.Popen(["/bin/echo", "x"], stdout=subprocess.PIPE)
        second = subprocess.Popen(
            ["/bin/cat"], stdin=first.stdout, stdout=target, stderr=subprocess.DEVNULL
        )
        assert first.stdout
        first.stdout.close()
        first.wait()
        second.wait()
    left, right = witness.one(first.pid, Exec), witness.one(second.pid, Exec)
    assert (left.stdout_kind, right.stdin_kind) == (StdioKind.PIPE, StdioKind.PIPE)
    assert left.stdout_inode == right.stdin_inode != 0
    assert (right.stdout_kind, right.stdout_inode) == (StdioKind.FILE, out.stat().st_ino)
    assert right.stderr_kind == StdioKind.DEVICE


def test_long_command_lines_are_cut_and_say_so(witness: Witness) -> None:
    many = subprocess.Popen(["/bin/true", *("a" * 8 for _ in range(100))])
    long = subprocess.Popen(["/bin/true", "b" * 100_000, "c", "Main", "--name", "etl"])
    many.wait()
    long.wait()
    event = witness.one(many.pid, Exec)
    assert (len(event.argv), event.argc) == (64, 101)
    event = witness.one(long.pid, Exec)
    assert (event.argc, event.image_flags & ImageFlag.ARGV_CUT) == (6, ImageFlag.ARGV_CUT)
    assert len("".join(event.argv)) <= 4096
    assert event.argv[0] == "/bin/true" and event.argv[2:] == ("…", "Main", "--name", "etl")


def test_only_allow_listed_variables_leave_the_kernel(witness: Witness) -> None:
    given = {
        "AIRFLOW_CTX_DAG_ID": "etl",
        "AIRFLOW_CTX_TASK_ID": "load",
        "AIRFLOW_CTX_API_TOKEN": "no",
        "AIRFLOW_CTX_db_Password": "no",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "no",
        "TRACEPARENT": "00-x",
        "TRACEPARENTS": "no",
        "TRACE": "no",
        "DBT_PASSWORD": "no",
        "DBT_CLOUD_RUN_ID": "7",
        "SPARK_SECRET": "no",
        "PATH": "/bin",
        "LONG": "x" * 5000,
        "POD_NAME": "p" * 3000,
    }
    child = subprocess.Popen(["/bin/true"], env=given)
    child.wait()
    event = witness.one(child.pid, Exec)
    names = {entry.partition("=")[0] for entry in event.environ}
    assert names == {
        "AIRFLOW_CTX_DAG_ID",
        "AIRFLOW_CTX_TASK_ID",
        "TRACEPARENT",
        "DBT_CLOUD_RUN_ID",
        "POD_NAME",
    }
    assert "AIRFLOW_CTX_DAG_ID=etl" in event.environ
    assert event.image_flags & ImageFlag.ENVIRON_CUT  # the long POD_NAME
    assert "no" not in {entry.partition("=")[2] for entry in event.environ}


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("raise SystemExit(0)", 0),
        ("raise SystemExit(7)", 7 << 8),
        ("import os; os._exit(255)", 255 << 8),
    ],
)
def test_exit_status(witness: Witness, code: str, status: int) -> None:
    child = python(code)
    child.wait()
    assert witness.one(child.pid, Exit).wait_status == status


def test_exit_status_of_a_group_whose_leader_left_first(witness: Witness) -> None:
    code = """
import ctypes, os, threading, time
def last():
    time.sleep(0.1); os._exit(9)
threading.Thread(target=last).start()
ctypes.CDLL(None).pthread_exit(None)
"""
    child = python(code)
    assert child.wait() == 9
    assert witness.one(child.pid, Exit).wait_status == 9 << 8


def test_core_dump_flag(witness: Witness, tmp_path: Path) -> None:
    code = (
        "import os, resource; resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * "
        "2); os.abort()"
    )
    child = python(code, cwd=tmp_path)
    child.wait()
    status = witness.one(child.pid, Exit).wait_status
    assert status & 0x7F == 6
    dumped = any(tmp_path.iterdir()) or Path(
        "/proc/sys/kernel/core_pattern"
    ).read_text().startswith("|")
    assert bool(status & 0x80) == dumped


def test_resources_agree_with_wait4(witness: Witness, tmp_path: Path) -> None:
    code = f"""
import hashlib, os
x = bytearray(80 << 20)
for i in range(0, len(x), 4096): x[i] = 1
for _ in range(40): hashlib.sha256(bytes(1 << 20)).digest()
fd = os.open({str(tmp_path / "out")!r}, os.O_CREAT | os.O_WRONLY)
os.write(fd, b"x" * 123456); os.fsync(fd)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
print(next(line.split()[1] for line in open("/proc/self/io") if line.startswith("write_bytes")))
"""
    child = python(code, stdout=subprocess.PIPE)
    assert child.stdout
    peak_kib, written = map(int, child.stdout.read().split())
    child.stdout.close()
    _, _, usage = os.wait4(child.pid, 0)
    child.returncode = 0
    event = witness.one(child.pid, Exit)
    # of this image: ru_maxrss would also count the test runner's memory, which the child held
    # between fork and exec
    assert event.peak_rss_bytes == pytest.approx(peak_kib * 1024, abs=2 << 20)
    assert event.cpu_runtime_ns / 1e9 == pytest.approx(
        usage.ru_utime + usage.ru_stime, rel=0.1, abs=0.02
    )
    assert event.write_call_bytes == pytest.approx(123456, abs=128)
    assert event.written_bytes == written
    assert event.run_delay_ns < 60 * 10**9


def test_bytes_are_of_the_process_and_not_of_its_children(witness: Witness, tmp_path: Path) -> None:
    """The kernel adds a reaped child's bytes to its parent's (wait_task_zombie, kernel/exit.c)."""
    code = f"""
import os, subprocess, sys, threading
def write(name, size):
    fd = os.open(name, os.O_CREAT | os.O_WRONLY)
    os.write(fd, b"x" * size); os.fsync(fd); os.close(fd)
inner = "import os; f = os.open('{tmp_path}/c', 65); os.write(f, b'x' * (3 << 20)); os.fsync(f)"
subprocess.run([sys.executable, "-c", inner])
ts = [threading.Thread(target=write, args=(f"{tmp_path}/{{n}}", 1 << 20)) for n in range(2)]
[t.start() for t in ts]; [t.join() for t in ts]
write("{tmp_path}/own", 1 << 20)
"""
    child = python(code)
    child.wait()
    event = witness.one(child.pid, Exit)
    (inner,) = [
        e for pid in witness.descendants(child.pid) - {child.pid} for e in witness.of(pid, Exit)
    ]
    assert inner.write_call_bytes >= 3 << 20 and inner.written_bytes >= 3 << 20
    for counted in (event.write_call_bytes, event.written_bytes):
        assert 3 << 20 <= counted < (3 << 20) + (1 << 19)
    assert event.read_call_bytes < inner.read_call_bytes + (1 << 20)


def test_cpu_of_all_threads_is_counted(witness: Witness) -> None:
    code = """
import hashlib, threading
def burn():
    for _ in range(60): hashlib.sha256(bytes(1 << 20)).digest()
ts = [threading.Thread(target=burn) for _ in range(3)]
[t.start() for t in ts]; [t.join() for t in ts]
"""
    child = python(code)
    _, _, usage = os.wait4(child.pid, 0)
    child.returncode = 0
    event = witness.one(child.pid, Exit)
    assert event.cpu_runtime_ns / 1e9 == pytest.approx(
        usage.ru_utime + usage.ru_stime, rel=0.1, abs=0.02
    )
    assert len(witness.of(child.pid, Exit)) == 1


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


def test_a_thread_that_execs_becomes_the_process(witness: Witness) -> None:
    child = python(
        "import os, threading, time\nthreading.Thread(target=os.execv, args=('/bin/true', ['true', "
        "'x'])).start()\ntime.sleep(30)"
    )
    child.wait()
    events = witness.of(child.pid, Exec)
    assert [e.argv for e in events][-1] == ("true", "x")
    assert events[0].process == events[-1].process == witness.one(child.pid, Exit).process


def test_a_title_is_read_past_the_end_of_argv(witness: Witness) -> None:
    """What setproctitle does: overwrite argv and what follows, then prctl(PR_SET_NAME)."""
    title = "worker: task 0190-aaaa-bbbb " + "x" * 60
    code = f"""
import ctypes
libc = ctypes.CDLL(None)
fields = open('/proc/self/stat').read().rpartition(')')[2].split()
start = int(fields[45])  # arg_start
title = {title!r}.encode()
ctypes.memmove(start, title + bytes(1), len(title) + 1)
libc.prctl(15, title[:15], 0, 0, 0)
"""
    child = python(code, env={"PADDING": "y" * 200})
    child.wait()
    event = witness.of(child.pid, Title)[-1]
    assert event.title == title
    assert event.comm == title[:15]
    # before 6.14 the exit hook comes after the memory is gone:
    # only the rename tells the title there
    late = any(c.program == "on_exit_legacy" and c.attached for c in witness.source.coverage())
    assert witness.one(child.pid, Exit).title == ("" if late else title)


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


def test_a_hook_that_cannot_attach_is_reported_and_the_rest_works(
    live: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from receiver.kernel import probes
    from receiver.kernel.hooks import HOOKS, Hook

    bogus = {"on_title": "no_such_tracepoint", "on_oom_kill": "sched_switch"}
    hooks = tuple(
        Hook(
            h.program,
            bogus.get(h.program, h.tracepoint),
            h.arguments,
            h.blind,
            h.kind,
            required=h.required,
            iterator=h.iterator,
        )
        for h in HOOKS
    )
    monkeypatch.setattr(probes, "HOOKS", hooks)
    witness = Witness()
    coverage = {c.program: c for c in witness.source.coverage()}
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    assert witness.one(child.pid, Exit).wait_status == 0
    witness.source.close()
    assert (coverage["on_title"].attached, coverage["on_title"].why) == (
        False,
        "this kernel has no tracepoint no_such_tracepoint",
    )
    assert "arguments here, not 2" in coverage["on_oom_kill"].why
    assert coverage["on_title"].blind == "titles that workers give themselves"
    assert coverage["on_exec"].attached


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


def test_clean_exits_report_no_files(witness: Witness, tmp_path: Path) -> None:
    child = python(
        f"import os; os.open({str(tmp_path / 'x')!r}, os.O_CREAT | os.O_WRONLY); os._exit(0)"
    )
    child.wait()
    assert not witness.of(child.pid, OpenFile)


def test_every_hook_attaches_on_this_kernel(witness: Witness) -> None:
    assert [hook.hook for hook in witness.source.coverage() if not hook.attached] == []
