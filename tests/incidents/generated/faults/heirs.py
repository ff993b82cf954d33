"""Ends that take others with them, and ended children that nobody reaps."""

from __future__ import annotations

from tests.incidents.generated.bench import Bench
from tests.incidents.generated.faults.base import both, failed, fault, logged, started, tool
from tests.incidents.generated.model import Plan, Stage
from tests.incidents.results import Truth

_SHORT = "too short|No such file|ENOENT|NoSuchFile"
_OWN = 'read -r own _ < /proc/self/stat; echo "$own" > '


@fault("K", pid_namespaces=False)
def namespace_ends_early(b: Bench) -> Plan:
    """The first process of a pid namespace ends with success, while the step still writes."""
    out = b.path()
    rest = "sleep 1.4" if b.sick else "wait"
    line = f'{_OWN}{b.pid_file("init")}; "$@" & {rest}'
    before = ("unshare", "--pid", "--fork", "sh", "-c", line, "sh")
    writer = b.step("victim", [f"write {out} 800 4000"], before=before, work=0.1)
    reader = b.ordinary([f"read {out} 790"], role="reader")
    truth = Truth(
        "kill.namespace_init",
        {"pid": "init", "path": str(out)},
        rivals=("kill.supervisor", "fs.read_early"),
        also_right=("fs.truncated",),  # as where a signal of a stranger ends a writer
    )
    return Plan(
        stages=b.stages(Stage((writer,)), Stage((reader,))),
        truth=truth,
        happened=both(logged(_SHORT), failed),
    )


@fault("K", pid_namespaces=False)
def parent_ends_early(b: Bench) -> Plan:
    """A launcher ends with success; the step had asked for a signal at the end of its parent."""
    out = b.path()
    rest = "sleep 1.4; exit 0" if b.sick else "wait $!"
    line = f'{_OWN}{b.pid_file("launcher")}; setpriv --pdeathsig KILL "$@" & {rest}'
    writer = b.step("victim", [f"write {out} 800 4000"], before=("sh", "-c", line, "sh"), work=0.1)
    reader = b.ordinary([f"read {out} 790"], role="reader")
    truth = Truth(
        "kill.parent_death",
        {"pid": "launcher", "path": str(out)},
        rivals=("kill.supervisor", "fs.read_early"),
        also_right=("fs.truncated",),  # as where a signal of a stranger ends a writer
    )
    return Plan(
        stages=b.stages(Stage((writer,)), Stage((reader,))),
        truth=truth,
        happened=both(logged(_SHORT), failed),
    )


@fault("K")
def children_are_not_reaped(b: Bench) -> Plan:
    """A program forks short workers and never waits for them, until it may fork no more."""
    limit = b.draw.choice((40, 70))
    group = b.lab.cgroup("pids", pids_max=limit if b.sick else 900)
    reap = "pass" if b.sick else "os.waitpid(pid, 0)"
    code = (
        f"for _ in range({limit + 60}):\n    pid = os.fork()\n    if not pid: os._exit(0)\n"
        f"    {reap}\n    time.sleep(0.01)"
    )
    words = tool(b, "victim", code)
    truth = Truth("proc.zombies", {"pid": "victim"}, rivals=("lim.pids",))
    return Plan(
        stages=started(b, words, before=b.cgroup_words(group)),
        truth=truth,
        happened=both(logged("BlockingIOError|Resource temporarily"), failed),
    )
