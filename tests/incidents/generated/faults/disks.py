"""Full file systems, and files that two processes use at the wrong time."""

from __future__ import annotations

import subprocess
import sys
import time

from tests.incidents.generated.bench import Bench
from tests.incidents.generated.faults.base import both, failed, fault, logged, noted
from tests.incidents.generated.model import Plan, Stage
from tests.incidents.machine import run
from tests.incidents.results import Truth


@fault("K", weight=2)
def disk_is_full(b: Bench) -> Plan:
    """The step's own output, an earlier step's, or a stranger's has filled an ext4."""
    who = b.draw.choice(("own", "earlier", "stranger"))
    place = b.lab.mount("ext4", size="16m" if b.sick else "96m")
    target, other = place / b.names.file(), place / b.names.file()
    size = 20_000 if who == "own" else 6_000
    step = b.step("victim", [f"write {target} {size} 300"])
    stages = b.stages(Stage((step,)))
    culprit: dict[str, object] = {"path": str(target)}
    if who == "earlier":
        filler = b.ordinary([f"write {other} 9000 200"], role="filler")
        stages = b.stages(Stage((filler,)), Stage((step,)))
        culprit["pid"] = "filler"
    elif who == "stranger":
        b.stranger(
            (
                f"f = open({str(other)!r}, 'wb')\nf.write(bytes(9 << 20)); f.flush(); "
                "print('ready', flush=True); time.sleep(300)"
            ),
            role="filler",
        )
        culprit["pid"] = "filler"
    else:
        culprit["pid"] = "victim"
    truth = Truth("fs.enospc", culprit, rivals=("fs.inodes_quota", "fs.eacces"))
    return Plan(stages=stages, truth=truth, happened=both(logged("[Nn]o space|ENOSPC"), failed))


@fault("K")
def no_inode_left(b: Bench) -> Plan:
    place = b.lab.mount("tmpfs", f"nr_inodes={60 if b.sick else 2000}", size="30m")
    count = b.draw.choice((90, 150))
    step = b.step("victim", [f"sprinkle {place} {count}"])
    truth = Truth("fs.inodes_quota", {"pid": "victim"}, rivals=("fs.enospc", "fs.eacces"))
    return Plan(
        stages=b.one(step), truth=truth, happened=both(logged("[Nn]o space|ENOSPC"), failed)
    )


@fault(
    "K",
    at_least_ms=600,
    structures=("bash", "python", "node", "perl", "go", "java", "pool", "make", "xargs", "code"),
)
def incomplete_file_is_used(b: Bench) -> Plan:
    """A writer is killed, the orchestrator goes on, and the next step finds the file too short."""
    out, ms = b.path(), b.composition.milliseconds
    writer = b.step("victim", [f"write {out} 800 {ms}"])
    reader = b.ordinary([f"read {out} 790"], role="reader")
    stages = b.stages(Stage((writer,), tolerant=True), Stage((reader,)))
    truth = Truth("fs.truncated", {"path": str(out)}, rivals=("fs.read_early",))
    plan = Plan(stages=stages, truth=truth, happened=both(logged("too short"), failed))

    def during() -> None:
        b.lab.wait("victim")
        for _ in range(3000):
            if out.exists() and out.stat().st_size > 60_000:
                break
            time.sleep(0.01)
        pid = b.lab.pids["victim"]
        b.lab.pids["sender"] = b.lab.outside(["bash", "-c", f"kill -9 {pid}; sleep 1"]).pid
        b.note("sent")

    if b.sick:
        plan.during = during
    return plan


@fault("K", at_least_ms=600)
def file_is_read_early(b: Bench) -> Plan:
    """Two steps run at once; the second one reads what the first one has not finished."""
    out, ms = b.path(), b.composition.milliseconds + 600
    writer = b.step("victim", [f"write {out} 800 {ms}"], work=0.1)
    wait = ms * 0.3 + b.composition.milliseconds * 0.1 + 150
    reader = b.ordinary([f"idle {int(wait)}", f"read {out} 790"], role="reader", ms=20)
    stages = (
        b.stages(Stage((writer, reader)))
        if b.sick
        else b.stages(Stage((writer,)), Stage((reader,)))
    )
    truth = Truth(
        "fs.read_early", {"path": str(out)}, rivals=("fs.truncated", "fs.concurrent_writers")
    )
    return Plan(
        stages=stages,
        truth=truth,
        happened=both(logged("too short|No such file|ENOENT|NoSuchFile"), failed),
    )


@fault("K", at_least_ms=600)
def two_writers_of_one_file(b: Bench) -> Plan:
    """The two have one output; a third step finds less than both wrote."""
    first, second = b.path(), b.path()
    ms = b.composition.milliseconds
    one = b.step("victim", [f"write {first} 400 {ms}"], work=0.1)
    two = b.step(
        "other",
        [f"idle {int(ms * 0.2)}", f"write {first if b.sick else second} 300 {int(ms * 0.4) + 100}"],
        work=0.1,
    )
    reader = b.ordinary([f"read {first} {1000 if b.sick else 390}"], role="reader", ms=20)
    truth = Truth(
        "fs.concurrent_writers",
        {"path": str(first)},
        rivals=("fs.read_early",),
        also_right=("proc.duplicate_run",),
    )
    return Plan(
        stages=b.stages(Stage((one, two)), Stage((reader,))),
        truth=truth,
        happened=both(logged("too short"), failed),
    )


@fault("K", languages=("python", "c"), at_least_ms=500)
def mapped_file_is_cut(b: Bench) -> Plan:
    """Somebody truncates the file that it has mapped."""
    path = b.file(4000)
    ms = b.composition.milliseconds + 800
    step = b.step("victim", [f"map {path} {ms}"], work=0.2)
    truth = Truth(
        "fs.replaced", {"path": str(path), "pid": "stranger"}, rivals=("crash.segv", "mem.shm_full")
    )
    plan = Plan(stages=b.one(step), truth=truth, happened=both(noted("cut"), failed))

    def during() -> None:
        b.lab.wait("victim")
        time.sleep(b.composition.milliseconds * 0.0003 + 0.25)
        b.stranger(f"os.truncate({str(path)!r}, 5000); print('ready', flush=True); time.sleep(1)")
        b.note("cut")

    if b.sick:
        plan.during = during
    return plan


@fault("K")
def read_only_mount(b: Bench) -> Plan:
    place = b.lab.mount("tmpfs", size="30m")
    target = place / b.names.file()
    if b.sick:
        run("mount", "-o", "remount,ro", str(place))
    step = b.step("victim", [f"write {target} 40 100"])
    truth = Truth("fs.eacces", {"path": str(target)}, rivals=("fs.enospc", "proc.interpreter"))
    return Plan(
        stages=b.one(step), truth=truth, happened=both(logged("[Rr]ead-only|EROFS"), failed)
    )


def _readable(b: Bench, before: tuple[str, ...]) -> str:
    """The drawn language, if the other user may run its interpreter."""
    tried = [*before, sys.executable, "-S", "-c", ""]
    if (
        b.language == "python"
        and subprocess.run(tried, capture_output=True, check=False).returncode
    ):
        return "perl"
    return b.language


@fault("K")
def file_of_somebody_else(b: Bench) -> Plan:
    """The step runs as another user."""
    path = b.file(30)
    path.chmod(0o600 if b.sick else 0o644)
    before = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
    step = b.step("victim", [f"read {path}"], before=before, language=_readable(b, before))
    truth = Truth("fs.eacces", {"path": str(path)}, rivals=("fs.enospc", "proc.interpreter"))
    return Plan(
        stages=b.one(step),
        truth=truth,
        happened=both(logged("[Pp]ermission denied|EACCES|AccessDenied"), failed),
    )
