"""Processes that wait for what does not come, until a time limit ends them."""

from __future__ import annotations

import os
import signal
import sys

from tests.incidents.generated.bench import Bench
from tests.incidents.generated.faults.base import both, failed, fault, noted
from tests.incidents.generated.model import Plan
from tests.incidents.generated.programs import helper
from tests.incidents.results import Truth


def _limit(b: Bench) -> tuple[str, ...]:
    return ("timeout", str(b.draw.choice((7, 9, 12))))


@fault("K")
def stopped(b: Bench) -> Plan:
    """SIGSTOP, and nobody continues it."""
    step = b.step("victim", ["idle 400"], before=_limit(b))
    truth = Truth("hang.stopped", {"pids": ["victim", "sender"]}, rivals=("kill.timeout_orphan",))
    plan = Plan(stages=b.one(step), truth=truth, happened=both(noted("sent"), failed))
    if b.sick:
        plan.during = lambda: b.from_outside("victim", int(signal.SIGSTOP))
    return plan


@fault("K", languages=("python", "bash", "c", "java", "perl", "go", "node"))
def fifo_without_a_partner(b: Bench) -> Plan:
    path = b.path("run")
    os.mkfifo(path)
    if not b.sick:
        b.stranger(f"print('ready', flush=True)\nwith open({str(path)!r}, 'w') as f: f.write('x')")
    step = b.step("victim", [f"fifo {path}"], before=_limit(b))
    truth = Truth(
        "hang.fifo_partner",
        {"pid": "victim", "path": str(path)},
        rivals=("kill.timeout_orphan", "hang.pipe_full"),
    )
    return Plan(stages=b.one(step), truth=truth, happened=failed)


@fault("K", languages=("python", "bash", "c", "perl", "node", "go"))
def pipe_is_full(b: Bench) -> Plan:
    """The runner waits for the end of a child whose output it does not read."""
    way = "first" if b.sick else "last"
    before = (*_limit(b), *helper(b.folder, "waiter", b.names.program()), way, b.pid_file("runner"))
    step = b.step("victim", ["say 200"], before=before)
    truth = Truth(
        "hang.pipe_full",
        {"pids": ["victim", "runner"]},
        rivals=("kill.timeout_orphan", "hang.fork_lock"),
    )
    return Plan(stages=b.one(step), truth=truth, happened=failed)


@fault("K")
def pipe_is_held_open(b: Bench) -> Plan:
    """The step has ended; a helper that it left behind holds the pipe that the runner reads
    to its end."""
    out = "" if b.sick else " > /dev/null 2>&1"
    path = b.folder / "bin" / f"{b.names.program()}.py"
    path.write_text(f"import time\ntime.sleep({300 if b.sick else 0.3})\n")
    hold = f"{sys.executable} -S {path}"
    words = (
        "sh",
        "-c",
        f"sh -c 'echo $$ > {b.pid_file('helper')}; exec {hold}'{out} & \"$@\"",
        "sh",
    )
    before = (
        *_limit(b),
        *helper(b.folder, "waiter", b.names.program()),
        "last",
        b.pid_file("runner"),
        *words,
    )
    step = b.step("victim", [], before=before)
    truth = Truth(
        "hang.pipe_held", {"pid": "helper"}, rivals=("kill.timeout_orphan", "hang.pipe_full")
    )
    return Plan(stages=b.one(step), truth=truth, happened=failed)
