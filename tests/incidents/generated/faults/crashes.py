"""Crashes, and ends that nobody passed on."""

from __future__ import annotations

from tests.incidents.generated.bench import Bench
from tests.incidents.generated.faults.base import both, failed, fault, logged
from tests.incidents.generated.model import Plan, Run, Stage
from tests.incidents.results import Truth


@fault("K", languages=("python", "c", "perl"))
def bad_address(b: Bench) -> Plan:
    step = b.step("victim", ["crash segv"] if b.sick else [])
    truth = Truth("crash.segv", {"pid": "victim"}, rivals=("kill.supervisor", "crash.abort_ill"))
    return Plan(stages=b.one(step), truth=truth, happened=failed)


@fault("K", languages=("python", "c", "perl", "node"))
def abort(b: Bench) -> Plan:
    step = b.step("victim", ["crash abort"] if b.sick else [])
    truth = Truth("crash.abort_ill", {"pid": "victim"}, rivals=("kill.supervisor", "crash.segv"))
    return Plan(stages=b.one(step), truth=truth, happened=failed)


@fault("K", languages=("c",))
def division(b: Bench) -> Plan:
    step = b.step("victim", ["crash fpe"] if b.sick else [])
    truth = Truth("crash.abort_ill", {"pid": "victim"}, rivals=("kill.supervisor", "crash.segv"))
    return Plan(stages=b.one(step), truth=truth, happened=failed)


@fault("K", structures=("bash", "make", "python", "node", "perl", "go", "java", "pool", "xargs"))
def masked(b: Bench) -> Plan:
    """The orchestrator goes on after a failure and reports success."""
    status = b.draw.choice((1, 2, 5))
    main = Stage((b.step("victim", [f"exit {status}"] if b.sick else []),), tolerant=True)
    stages = [*b.stages(main), Stage((b.ordinary(),))]
    truth = Truth(
        "proc.exit_masked", {"pids": ["victim", "victim.parent"]}, rivals=("kill.swallowed",)
    )
    return Plan(stages=stages, truth=truth, happened=_masked)


def _masked(run: Run) -> bool:
    return "stop" in run.log and run.status == 0


@fault("K", languages=("bash", "c", "perl"))
def reader_stops(b: Bench) -> Plan:
    """`step | head`, with pipefail."""
    lines = b.draw.choice((1, 5, 20))
    end = f"head -n {lines}" if b.sick else "tail -n 3"
    before = ("bash", "-o", "pipefail", "-c", f'"$@" | {end} > /dev/null', "bash")
    step = b.step("victim", ["say 300"], before=before)
    truth = Truth("proc.sigpipe", {"pid": "victim"}, rivals=("kill.supervisor",))
    return Plan(stages=b.one(step), truth=truth, happened=failed)


@fault("K")
def program_missing(b: Bench) -> Plan:
    """Not there, not executable, or with an interpreter that is not there."""
    kind = b.draw.choice(("absent", "mode", "interpreter"))
    tool = b.folder / "bin" / b.names.program()
    if not (b.sick and kind == "absent"):
        tool.write_text("#!/bin/sh\nexit 0\n")
        tool.chmod(0o755)
    if b.sick and kind == "mode":
        tool.chmod(0o644)
    if b.sick and kind == "interpreter":
        tool.write_text("#!/opt/runtime/bin/launch\nexit 0\n")
    truth = Truth("proc.interpreter", {"path": str(tool), "pid": "victim"}, rivals=("fs.eacces",))
    return Plan(
        stages=b.one(b.step("victim", [f"run {tool}"])),
        truth=truth,
        happened=both(logged(tool.name), failed),
    )


@fault("K")
def program_is_being_written(b: Bench) -> Plan:
    """exec fails with ETXTBSY: somebody has the program open for writing."""
    tool = b.folder / "bin" / b.names.program()
    tool.write_text("#!/bin/sh\nexit 0\n")
    tool.chmod(0o755)
    mode = "ab" if b.sick else "rb"
    b.stranger(f"f = open({str(tool)!r}, {mode!r}); print('ready', flush=True); time.sleep(300)")
    truth = Truth(
        "proc.exec_refused",
        {"pid": "stranger", "path": str(tool)},
        rivals=("proc.interpreter", "fs.eacces"),
    )
    return Plan(
        stages=b.one(b.step("victim", [f"run {tool}"])),
        truth=truth,
        happened=both(logged("[Tt]ext file busy|ETXTBSY"), failed),
    )


@fault("K", languages=("python", "bash", "java", "perl", "node", "go"))
def arguments_too_long(b: Bench) -> Plan:
    size = 150_000 if b.sick else 15_000
    step = b.step("victim", [f"run /bin/true {'x' * size}"])
    truth = Truth(
        "proc.exec_refused", {"pid": "victim", "path": "true"}, rivals=("proc.interpreter",)
    )
    return Plan(
        stages=b.one(step),
        truth=truth,
        happened=both(logged("[Aa]rgument list too long|E2BIG|error=7|status -?[0-9]+"), failed),
    )
