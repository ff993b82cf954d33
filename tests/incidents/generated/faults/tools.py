"""Faults that a tool in Python has, which the step of any language starts."""

from __future__ import annotations

from tests.incidents.generated.bench import Bench
from tests.incidents.generated.faults.base import both, failed, fault, logged, started, tool
from tests.incidents.generated.model import Plan, Stage
from tests.incidents.machine import run
from tests.incidents.results import Truth


@fault("K")
def inotify_instances_run_out(b: Bench) -> Plan:
    count = 400 if b.sick else 5
    code = (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        f"for _ in range({count}):\n    if libc.inotify_init1(0) < 0: raise "
        "OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))\n"
    )
    truth = Truth("lim.inotify", {"pid": "victim"}, rivals=("lim.emfile", "fs.enospc"))
    return Plan(
        stages=started(b, tool(b, "victim", code)),
        truth=truth,
        happened=both(logged("Too many open"), failed),
    )


@fault("K")
def local_ports_run_out(b: Bench) -> Plan:
    near, first, count = b.network(), 40_000, b.draw.choice((30, 60))
    port = b.server("time.sleep(300)", inside=near)
    last = first + (count if b.sick else 2000)
    run(*near, "sysctl", "-qw", f"net.ipv4.ip_local_port_range={first} {last}")
    code = f"held = [socket.create_connection(('127.0.0.1', {port})) for _ in range({count + 30})]"
    truth = Truth("net.ports", {"pid": "victim"}, rivals=("net.backlog_refused", "lim.emfile"))
    plan = Plan(
        stages=started(b, tool(b, "victim", code)),
        truth=truth,
        happened=both(logged("Cannot assign"), failed),
    )
    plan.inside = near
    return plan


@fault("K", at_least_ms=500)
def lock_at_a_fork(b: Bench) -> Plan:
    """A thread holds a lock while another one forks: the child waits for it forever."""
    hold = 300 if b.sick else 0.1
    code = (
        "import threading\nlock = threading.Lock()\n"
        f"def hold():\n    with lock: time.sleep({hold})\n"
        "threading.Thread(target=hold, daemon=True).start()\n"
        f"time.sleep({0.5 if b.sick else 0.8})\n"
        f"pid = os.fork()\nif not pid:\n    with open({b.pid_file('child')!r}, 'w') as f: "
        "f.write(os.readlink('/proc/self'))\n"
        "    lock.acquire(); os._exit(0)\n"
        "_, status = os.waitpid(pid, 0)\nos._exit(1 if status else 0)\n"
    )
    before = ("timeout", str(b.draw.choice((8, 11))))
    truth = Truth(
        "hang.fork_lock", {"pid": "child"}, rivals=("kill.timeout_orphan", "hang.pipe_full")
    )
    return Plan(
        stages=started(b, tool(b, "victim", code), before=before), truth=truth, happened=failed
    )


@fault("P", weight=2, pid_namespaces=False)
def slow_probe(b: Bench) -> Plan:
    """A manager ends its worker after probes that took too long."""
    limit, times = b.draw.choice((0.8, 1.2, 1.7)), b.draw.choice((2, 3))
    probe = tool(b, "probe", "time.sleep(float(sys.argv[1]))")
    worker = tool(
        b,
        "worker",
        (
            "end = time.time() + float(sys.argv[1])\nwhile time.time() < end: sum(range(20000)); "
            "time.sleep(0.01)"
        ),
    )
    code = (
        f"main = subprocess.Popen({worker.split()!r} + [{'300' if b.sick else '3'!r}])\nlate = 0\n"
        f"for _ in range({times}):\n    time.sleep(0.5)\n"
        f"    try: subprocess.run({probe.split()!r} + [{'60' if b.sick else '0.1'!r}], "
        f"timeout={limit})\n"
        "    except subprocess.TimeoutExpired: late += 1\n"
        f"if late == {times}: main.terminate()\nsys.exit(1 if main.wait() else 0)\n"
    )
    truth = Truth("kill.probe", {"pid": "manager"}, rivals=("kill.supervisor", "kill.drain"))
    return Plan(stages=started(b, tool(b, "manager", code)), truth=truth, happened=failed)


@fault("P", at_least_ms=700)
def same_work_twice(b: Bench) -> Plan:
    """The same program with the same arguments runs twice at once, with one output;
    a check of it fails."""
    out, rows = b.path(), 150
    code = (
        f"f = open(sys.argv[1], 'w')\nfor n in range({rows}): "
        "f.write('row\\n' * 200); f.flush(); time.sleep(0.01)"
    )
    copier = tool(b, "victim", code)
    check = tool(
        b,
        "check",
        (
            "sys.exit(sum(1 for _ in open(sys.argv[1])) != "
            f"{rows * 200 if not b.sick else rows * 400})"
        ),
    )
    first = b.ordinary([f"run {copier} {out}"], ms=20, language="python")
    second = b.ordinary(
        ["idle 500", f"run {copier} {out}"] if b.sick else ["idle 500"], ms=20, language="python"
    )
    last = b.step("step", [f"run {check} {out}"])
    truth = Truth(
        "proc.duplicate_run",
        {"path": str(out), "any_pid": True},
        rivals=("fs.read_early",),
        also_right=("fs.concurrent_writers",),
    )
    return Plan(
        stages=b.stages(Stage((first, second)), Stage((last,))), truth=truth, happened=failed
    )


@fault("K", languages=("python", "perl", "c", "go"))
def every_connection_is_in_use(b: Bench) -> Plan:
    """The accept queue of a server that accepts nothing is full:
    connects wait until their limit."""
    port = b.port()
    accept = (
        ""
        if b.sick
        else (
            "import threading\nkept = []\ndef work():\n    while True: kept.append(s.accept())\n"
            "threading.Thread(target=work, daemon=True).start()\n"
        )
    )
    b.stranger(
        "s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); "
        f"s.bind(('127.0.0.1', {port})); s.listen(1)\n{accept}"
        "print('ready', flush=True); time.sleep(300)"
    )
    count = 6
    code = (
        f"held = []\nfor _ in range({count}):\n"
        f"    c = socket.create_connection(('127.0.0.1', {port}), {b.draw.choice((2, 3))}); "
        "held.append(c)"
    )
    truth = Truth(
        "net.backlog_refused",
        {"address": f"127.0.0.1:{port}"},
        rivals=("net.silent_peer",),
    )
    return Plan(
        stages=started(b, tool(b, "victim", code)),
        truth=truth,
        happened=both(logged("timed out|Timeout"), failed),
    )
