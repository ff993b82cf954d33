"""Limits of descriptors, processes and CPU time."""

from __future__ import annotations

from tests.incidents.generated.bench import Bench
from tests.incidents.generated.faults.base import both, failed, fault, logged
from tests.incidents.generated.model import Plan
from tests.incidents.results import Truth

_PERIOD = 100_000


@fault("K", languages=("python", "c", "java", "perl", "node", "go"), weight=2)
def no_descriptor_left(b: Bench) -> Plan:
    limit = b.draw.choice((130, 200))
    before = ("prlimit", f"--nofile={limit if b.sick else 2000}:{limit if b.sick else 2000}")
    step = b.step("victim", [f"files {limit + 50} {b.input}"], before=before)
    truth = Truth("lim.emfile", {"pid": "victim"}, rivals=("lim.pids", "fs.eacces"))
    return Plan(
        stages=b.one(step), truth=truth, happened=both(logged("[Tt]oo many open|EMFILE"), failed)
    )


@fault("K", languages=("python", "c", "perl"), weight=2)  # bash forks again until it may
def no_process_left(b: Bench) -> Plan:
    limit = b.draw.choice((15, 25))
    group = b.lab.cgroup("pids", pids_max=limit if b.sick else 400)
    step = b.step("victim", [f"procs {limit + 10} 400"], before=b.cgroup_words(group))
    truth = Truth(
        "lim.pids",
        {"pid": "victim", "cgroup": "/" + group.name},
        rivals=("proc.zombies", "lim.emfile"),
    )
    return Plan(
        stages=b.one(step),
        truth=truth,
        happened=both(logged("[Rr]esource temporarily|fork|EAGAIN"), failed),
    )


@fault("K", languages=("python", "c", "perl", "bash"), at_least_ms=2000)
def quota_of_cpu(b: Bench) -> Plan:
    """Its cgroup may use a tenth of a CPU, and it has a time limit that is enough without that."""
    group = b.lab.cgroup(
        "cpu", cpu_cfs_period_us=_PERIOD, cpu_cfs_quota_us=_PERIOD // 10 if b.sick else _PERIOD * 4
    )
    limit = b.draw.choice((4, 6))
    before = ("timeout", str(limit if b.sick else limit * 10), *b.cgroup_words(group))
    # more CPU time than the quota gives until the limit, on any machine
    step = b.step("victim", [f"burn {limit * 250}"], before=before, work=0.2)
    truth = Truth("cpu.quota", {"pid": "victim"}, rivals=("cpu.neighbour",))
    return Plan(stages=b.one(step), truth=truth, happened=failed)


@fault("K", languages=("python", "c", "perl", "bash"), at_least_ms=2000)
def neighbours_on_its_cpu(b: Bench) -> Plan:
    """It may use one CPU, which others use too, and has a time limit that is
    enough without them."""
    cpu = b.draw.choice((0, 1))
    strangers = []
    for number in range(6 if b.sick else 0):
        code = (
            f"os.sched_setaffinity(0, {{{cpu}}}); print('ready', flush=True)\n"
            "end = time.time() + 20\nwhile time.time() < end: sum(range(9999))"
        )
        b.stranger(code, role=f"burner{number}")
        strangers.append(f"burner{number}")
    limit = b.draw.choice((4, 6))
    before = ("timeout", str(limit if b.sick else limit * 10), "taskset", "-c", str(cpu))
    step = b.step("victim", [f"burn {limit * 500}"], before=before, work=0.2)
    truth = Truth("cpu.neighbour", {"pids": strangers}, rivals=("cpu.quota",))
    return Plan(stages=b.one(step), truth=truth, happened=failed)
