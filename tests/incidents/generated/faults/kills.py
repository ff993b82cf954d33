"""Signals by others, deadlines, heartbeats."""

from __future__ import annotations

import signal
import sys
import time

import msgspec

from tests.incidents.generated.bench import Bench
from tests.incidents.generated.faults.base import both, failed, fault, noted
from tests.incidents.generated.model import Plan, Run, Stage
from tests.incidents.generated.programs import helper
from tests.incidents.results import Truth

_HANDLES = ("python", "bash", "c", "perl", "node", "go")
_RIVALS = ("mem.cgroup_oom", "kill.drain", "kill.timeout_orphan")


@fault("K", weight=2)
def killed_from_outside(b: Bench) -> Plan:
    number = b.draw.choice(
        (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP)
    )
    if number == signal.SIGHUP and "nohup" in b.composition.wrappers:
        number = signal.SIGTERM  # it would be ignored
    plan = Plan(
        stages=b.one(b.step("victim", [])),
        truth=Truth("kill.supervisor", {"pid": "sender"}, rivals=_RIVALS),
        happened=both(noted("sent"), failed),
    )
    if b.sick:
        plan.during = lambda: b.from_outside("victim", int(number))
    return plan


@fault("K", pid_namespaces=False, at_least_ms=500)
def killed_by_another_step(b: Bench) -> Plan:
    """A step that runs beside it sends the signal."""
    number = b.draw.choice((9, 15))
    wait = int(b.composition.milliseconds * 0.4) + 200
    act = [f"kill {b.pid_file('victim')} {number}"] if b.sick else []
    other = b.ordinary(
        [f"idle {wait}", *act],
        role="sender",
        language=b.draw.choice(("python", "bash", "perl", "c")),
    )
    stages = b.stages(Stage((b.step("victim", [f"idle {wait}"]), other)))
    return Plan(
        stages=stages,
        truth=Truth("kill.supervisor", {"pid": "sender"}, rivals=_RIVALS),
        happened=failed,
    )


@fault("P", languages=_HANDLES, at_least_ms=600)
def drained(b: Bench) -> Plan:
    """SIGTERM to the whole group; SIGKILL to what is left after the grace period."""
    grace = b.draw.choice((0.8, 1.5, 2.5))
    group = (
        "setsid",
        "-w",
        *helper(b.folder, "waiter", b.names.program()),
        "last",
        b.pid_file("leader"),
    )
    step = b.step("victim", [f"idle {int(grace * 2000)}"], before=group)
    step = msgspec.structs.replace(step, operations=("deaf", *step.operations))
    plan = Plan(
        stages=b.one(step),
        truth=Truth(
            "kill.drain",
            {"pid": "sender"},
            rivals=("kill.supervisor",),
            also_right=("kill.supervisor",),
        ),
        happened=both(noted("sent"), failed),
    )

    def during() -> None:
        b.until_moment("victim")
        leader = b.lab.wait("leader")
        code = (
            f"import os, time; os.killpg({leader}, 15); time.sleep({grace})\n"
            f"try: os.killpg({leader}, 9)\nexcept OSError: pass\ntime.sleep(1)"
        )
        b.lab.pids["sender"] = b.lab.outside([sys.executable, "-S", "-c", code]).pid
        b.note("sent")

    if b.sick:
        plan.during = during
    return plan


@fault("K", languages=_HANDLES, at_least_ms=800)
def swallowed(b: Bench) -> Plan:
    """It is asked to end, and exits with 0 before its work is done."""
    out = b.path()
    step = b.step("victim", [f"write {out} 64 400"], work=1.5)
    step = msgspec.structs.replace(step, operations=("polite", *step.operations))
    plan = Plan(
        stages=b.stages(Stage((step,))),
        truth=Truth("kill.swallowed", {"pid": "victim"}, rivals=("proc.exit_masked",)),
        happened=both(noted("sent"), lambda run: run.status == 0),
    )
    if b.sick:
        plan.during = lambda: b.from_outside("victim", 15)
    return plan


@fault("K", at_least_ms=400)
def deadline(b: Bench) -> Plan:
    """A time limit that is shorter than the work."""
    work = b.composition.milliseconds
    limit = work * b.draw.uniform(0.3, 0.6) / 1000 + 0.2 if b.sick else work / 100 + 60
    extra = ("-s", "KILL") if b.draw.random() < 0.3 else ()
    step = b.step("victim", [f"idle {work}"], before=("timeout", *extra, f"{limit:.2f}"))
    truth = Truth(
        "kill.timeout_orphan",
        {"pid": "victim", "name": "timeout"},
        rivals=("kill.supervisor", "mem.cgroup_oom"),
    )
    return Plan(stages=b.one(step), truth=truth, happened=_timed_out)


def _timed_out(run: Run) -> bool:
    return run.status != 0


@fault("P", at_least_ms=2500, weight=2, pid_namespaces=False)
def late_heartbeat(b: Bench) -> Plan:
    """Its keeper ends it because the server that gives the leave did not answer in time."""
    limit = b.draw.choice((1.5, 2.5))
    after = b.draw.choice((2, 3, 4))
    slow = (
        "for n in range(9999):\n            if not c.recv(64): break\n"
        f"            if n >= {after}: time.sleep(30)\n            c.sendall(b'ok')"
    )
    quick = "while c.recv(64): c.sendall(b'ok')"
    port = b.server(slow if b.sick else quick)
    before = (
        *helper(b.folder, "keeper", b.names.program()),
        b.pid_file("keeper"),
        str(port),
        str(limit),
    )
    step = b.step(
        "victim", [f"idle {int((limit + after) * 1000) if b.sick else 300}"], before=before
    )
    truth = Truth("kill.heartbeat", {"pid": "keeper"}, rivals=("kill.supervisor",))
    return Plan(stages=b.one(step), truth=truth, happened=failed)


@fault("K", pid_namespaces=False, at_least_ms=500)
def stopped_by_a_guard_of_memory(b: Bench) -> Plan:
    """A program outside watches the resident set and kills what grows above a bound."""
    bound = b.draw.choice((60, 90))
    language = b.language if b.language in ("python", "c", "perl", "go") else "python"
    step = b.step(
        "victim", [f"grow {bound * 4} 4000"] if b.sick else ["grow 20 300"], language=language
    )
    plan = Plan(
        stages=b.one(step),
        truth=Truth(
            "mem.userspace_killer", {"pid": "sender"}, rivals=("kill.supervisor", "mem.cgroup_oom")
        ),
        happened=both(noted("sent"), failed),
    )

    def during() -> None:
        pid = b.lab.wait("victim")
        child = b.stranger(
            f"def rss():\n    try: return int(open('/proc/{pid}/statm').read().split()[1]) * 4096\n"
            "    except OSError: return -1\n"
            f"while 0 <= rss() < {bound} << 20: time.sleep(0.02)\nif rss() > 0: os.kill({pid}, 9)\n"
            "time.sleep(2)\n",
            role="sender",
            ready=False,
        )
        while b.sick and child.poll() is None and not _gone(pid):
            time.sleep(0.05)
        b.note("sent")

    plan.during = during
    return plan


def _gone(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True
