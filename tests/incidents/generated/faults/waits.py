"""Storage that stands still, memory that is too small, and locks whose holder is gone."""

from __future__ import annotations

import os
import subprocess
import time

from receiver.units import MIB
from tests.incidents.generated.bench import Bench
from tests.incidents.generated.faults.base import both, failed, fault, noted, started, tool
from tests.incidents.generated.model import Plan
from tests.incidents.results import Truth


@fault("K", at_least_ms=400)
def storage_stands_still(b: Bench) -> Plan:
    """The file system is frozen while the step writes, for longer than its time limit."""
    limit = b.draw.choice((7, 9))
    place = b.lab.mount("ext4", size="64m")
    target = place / b.names.file()
    before = ("timeout", "-s", "KILL", str(limit if b.sick else 90))
    step = b.step("victim", [f"write {target} 800 2500"], before=before, work=0.2)
    truth = Truth(
        "fs.slow_io",
        {"path": str(target), "pid": "victim"},
        rivals=("mem.thrash", "kill.timeout_orphan"),
    )
    plan = Plan(stages=b.one(step), truth=truth, happened=both(noted("frozen"), failed))

    def during() -> None:
        b.lab.wait("victim")
        for _ in range(2000):
            if target.exists() and target.stat().st_size:
                break
            time.sleep(0.01)
        subprocess.run(["fsfreeze", "-f", str(place)], check=True)
        b.note("frozen")
        time.sleep(limit + 1)
        subprocess.run(["fsfreeze", "-u", str(place)], check=True)

    if b.sick:
        b.lab.clean_up(
            lambda: subprocess.run(["fsfreeze", "-u", str(place)], capture_output=True, check=False)
        )
        plan.during = during
    return plan


@fault("K")
def pages_come_back(b: Bench) -> Plan:
    """What it has mapped does not fit into its memory cgroup:
    it reads the pages again and again."""
    limit, passes = b.draw.choice((36, 44)), 1200
    group = b.lab.cgroup("memory", memory_limit_in_bytes=(limit if b.sick else 900) * MIB)
    path = b.file(64 * 1024)
    with path.open("rb") as file:  # the first reader is charged for its pages
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    code = (
        f"import mmap\nf = open({str(path)!r}, 'rb'); m = mmap.mmap(f.fileno(), 0, "
        "prot=mmap.PROT_READ)\n"
        f"for _ in range({passes}):\n    for at in range(0, len(m), 4096): m[at]"
    )
    seconds = b.draw.choice((8, 10)) if b.sick else 90
    truth = Truth("mem.thrash", {"pid": "victim"}, rivals=("fs.slow_io", "mem.cgroup_oom"))
    words = f"timeout {seconds} {tool(b, 'victim', code)}"
    return Plan(
        stages=started(b, words, before=b.cgroup_words(group)), truth=truth, happened=failed
    )


_WORKERS = """import multiprocessing
lock = multiprocessing.get_context("fork").Lock()
def work(number):
    for n in range(4):
        with lock:
            if not number and not n:
                with open({note!r}, "w") as f: f.write(os.readlink("/proc/self"))
                time.sleep(2)
            time.sleep(0.02)
workers = [multiprocessing.get_context("fork").Process(target=work, args=(n,)) for n in range(4)]
for each in workers: each.start(); time.sleep(0.1)
for each in workers: each.join()
sys.exit(any(each.exitcode for each in workers))"""


@fault("P")
def lock_holder_is_killed(b: Bench) -> Plan:
    """A worker of a pool is killed while it holds a lock that the others need."""
    words = tool(b, "main", _WORKERS.format(note=b.pid_file("victim")))
    words = f"timeout {b.draw.choice((9, 12)) if b.sick else 90} {words}"
    truth = Truth(
        "hang.lock_holder_killed",
        {"pids": ["sender", "victim"]},
        rivals=("kill.timeout_orphan", "hang.fork_lock"),
    )
    plan = Plan(
        stages=started(b, words),
        truth=truth,
        happened=both(noted("sent"), failed),
    )

    def during() -> None:
        pid = b.lab.wait("victim")
        time.sleep(0.7)
        b.signal(pid, 9)

    if b.sick:
        plan.during = during
    return plan


@fault("P", languages=("java",))
def collector_takes_all_time(b: Bench) -> Plan:
    """The heap is nearly full of what is needed: each new object costs a whole collection."""
    size, limit = b.draw.choice((64, 96)), b.draw.choice((9, 12))
    options = ("-XX:+UseSerialGC", f"-Xmx{size if b.sick else 900}m")
    before = ("timeout", str(limit if b.sick else limit * 10))
    step = b.step(
        "victim", [f"churn {size} 4000"], before=before, options=options, work=0.2, language="java"
    )
    truth = Truth(
        "hang.gc_stall",
        {"pid": "victim"},
        rivals=("cpu.quota", "kill.timeout_orphan"),
        also_right=("mem.app_heap",),
    )
    return Plan(stages=b.one(step), truth=truth, happened=failed)
