"""Memory: cgroups, heaps, limits of address space, tmpfs."""

from __future__ import annotations

from pathlib import Path

from receiver.units import MIB
from tests.incidents.generated.bench import Bench
from tests.incidents.generated.faults.base import both, failed, fault, logged
from tests.incidents.generated.model import Plan, Stage
from tests.incidents.results import Truth

_GROWS = ("python", "c", "perl", "node", "go", "java")
_START = {"java": 140, "node": 90}  # MiB that the runtime needs


def _kills(group: Path) -> int:
    for line in (group / "memory.oom_control").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == "oom_kill":
            return int(value)
    return 0


def _first_to_go(b: Bench, group: Path) -> tuple[str, ...]:
    """In the cgroup, and with an oom_score_adj as a container of low priority has it."""
    words = f'echo 0 > {group}/cgroup.procs && echo 900 > /proc/self/oom_score_adj && exec "$@"'
    return ("sh", "-c", words, "sh")


def _limit(b: Bench) -> int:
    return _START.get(b.language, 20) + b.draw.choice((40, 70, 110))


@fault("K", languages=_GROWS, weight=2, at_least_ms=300)
def outgrows_its_cgroup(b: Bench) -> Plan:
    limit = _limit(b)
    group = b.lab.cgroup("memory", memory_limit_in_bytes=(limit if b.sick else limit + 900) * MIB)
    ms = b.draw.choice((100, 700, 2000))
    options = ("-Xmx800m",) if b.language == "java" else ()
    step = b.step(
        "victim", [f"grow {limit + 30} {ms}"], before=b.cgroup_words(group), options=options
    )
    truth = Truth(
        "mem.cgroup_oom",
        {"pid": "victim"},
        rivals=("mem.cgroup_neighbour", "kill.supervisor"),
        also_right=("mem.child_oom",),
    )
    return Plan(
        stages=b.one(step), truth=truth, happened=both(lambda run: _kills(group) > 0, failed)
    )


@fault("K", languages=_GROWS, at_least_ms=300)
def a_stranger_holds_its_memory(b: Bench) -> Plan:
    """A process outside holds most of the cgroup. The victim needs little, and less than it has at
    other times."""
    own = _START.get(b.language, 20) + 30
    held = b.draw.choice((2, 3)) * own
    limit = held + own - 25
    group = b.lab.cgroup("memory", memory_limit_in_bytes=(limit if b.sick else limit + 600) * MIB)
    b.stranger(
        f"open('{group}/cgroup.procs', 'w').write('0')\n"
        f"held = b'x' * ({held} << 20)\nprint('ready', flush=True)\ntime.sleep(300)"
    )
    options = ("-Xmx300m",) if b.language == "java" else ()
    step = b.step("victim", ["grow 45 500"], before=_first_to_go(b, group), options=options)
    truth = Truth("mem.cgroup_neighbour", {"pid": "stranger"}, rivals=("kill.supervisor",))
    return Plan(
        stages=b.one(step), truth=truth, happened=both(lambda run: _kills(group) > 0, failed)
    )


@fault("K", languages=("python", "c", "perl", "go"), at_least_ms=500)
def another_step_takes_the_memory(b: Bench) -> Plan:
    """Two steps share a cgroup; the large one takes the room, the small one is killed."""
    group = b.lab.cgroup("memory", memory_limit_in_bytes=(110 if b.sick else 900) * MIB)
    big = b.step("other", ["grow 98 900", "idle 200"], before=b.cgroup_words(group), language="c")
    small = b.step("victim", ["grow 24 100", "idle 1500"], before=_first_to_go(b, group))
    truth = Truth("mem.cgroup_neighbour", {"pid": "other"}, rivals=("kill.supervisor",))
    return Plan(
        stages=b.stages(Stage((small, big))),
        truth=truth,
        happened=both(lambda run: _kills(group) > 0, failed),
    )


@fault("P", languages=("node", "java"), weight=3)
def outgrows_its_heap(b: Bench) -> Plan:
    size = b.draw.choice((48, 64, 96))
    options = {
        "node": f"--max-old-space-size={size if b.sick else 900}",
        "java": f"-Xmx{size if b.sick else 900}m",
    }
    step = b.step("victim", [f"grow {size + 60} 600"], options=(options[b.language],))
    truth = Truth("mem.app_heap", {"pid": "victim"}, rivals=("mem.cgroup_oom", "kill.supervisor"))
    return Plan(stages=b.one(step), truth=truth, happened=both(logged("heap"), failed))


@fault("K", languages=("python", "c", "perl"))
def address_space_limit(b: Bench) -> Plan:
    size = b.draw.choice((120, 200))
    before = ("prlimit", f"--as={(size if b.sick else 4000) * MIB}")
    step = b.step("victim", [f"grow {size + 60} 500"], before=before)
    truth = Truth("mem.rlimit", {"pid": "victim"}, rivals=("mem.cgroup_oom", "mem.app_heap"))
    return Plan(stages=b.one(step), truth=truth, happened=both(logged("[Mm]emory|malloc"), failed))


@fault("K")
def tmpfs_is_full(b: Bench) -> Plan:
    size = b.draw.choice((3, 6))
    place = b.lab.mount("tmpfs", size=f"{size if b.sick else 60}m")
    target = place / b.names.file()
    step = b.step("victim", [f"write {target} {(size + 4) * 1024} 300"])
    truth = Truth(
        "mem.shm_full",
        {"path": str(target), "pid": "victim"},
        rivals=("mem.cgroup_oom",),
        also_right=("fs.enospc",),
    )
    return Plan(
        stages=b.one(step), truth=truth, happened=both(logged("[Nn]o space|ENOSPC"), failed)
    )


@fault("K", languages=("python", "c", "perl", "go"), at_least_ms=300)
def full_without_a_killer(b: Bench) -> Plan:
    """The memory cgroup is full and its OOM killer is off: it hangs until a time limit."""
    limit = _limit(b)
    size = (limit if b.sick else limit + 900) * MIB
    group = b.lab.cgroup("memory", memory_limit_in_bytes=size, memory_oom_control=1)
    before = ("timeout", "-s", "KILL", str(b.draw.choice((6, 8))), *b.cgroup_words(group))
    step = b.step("victim", [f"grow {limit + 30} 300"], before=before)
    truth = Truth(
        "mem.oom_disabled",
        {"pid": "victim", "cgroup": "/" + group.name},
        rivals=("fs.slow_io", "kill.timeout_orphan"),
    )
    return Plan(stages=b.one(step), truth=truth, happened=failed)
