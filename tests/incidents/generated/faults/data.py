"""Data of another day, unequal parts, and code on a mount that permits none."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.incidents.generated.bench import Bench, not_here
from tests.incidents.generated.faults.base import both, failed, fault, logged, started, tool
from tests.incidents.generated.model import Plan, Stage
from tests.incidents.results import Truth


@fault("P")
def data_of_another_day(b: Bench) -> Plan:
    """One step writes the data of this day, and the next one reads that of the day before."""
    style = b.draw.choice(("dt=2024-05-{:02}", "202405{:02}", "2024-05-{:02}"))
    day, name = b.draw.randrange(2, 29), b.names.file()
    old, new = (b.folder / "files" / style.format(d) / name for d in (day - 1, day))
    for each in (old, new):
        each.parent.mkdir(mode=0o777)
    old.write_bytes(b"17,4,abc\n" * 20_000)
    writer = b.ordinary([f"write {new} 400 100"], role="writer")
    step = b.step("victim", [f"read {old if b.sick else new} 390"])
    truth = Truth("fs.stale_input", {"path": str(old)}, rivals=("fs.read_early", "fs.truncated"))
    return Plan(
        stages=b.stages(Stage((writer,)), Stage((step,))),
        truth=truth,
        happened=both(logged("too short"), failed),
    )


_COUNT = """n = 0
with open(sys.argv[1], "rb") as f:
    while part := f.read(1 << 20): n += part.count(b","); time.sleep(0.08)
print(n)"""


@fault("P")
def one_part_is_huge(b: Bench) -> Plan:
    """One of four workers gets most of the data: the others wait for it. Nothing fails."""
    paths = [b.file(3000) for _ in range(3)] + [b.file(60_000 if b.sick else 3000)]
    largest = str(paths[-1])
    b.draw.shuffle(paths)
    worker = tool(b, "worker", _COUNT).split()
    main = (
        f"all = [subprocess.Popen({worker!r} + [p]) for p in {[str(p) for p in paths]!r}]\n"
        "sys.exit(any([p.wait() for p in all]))"
    )
    truth = Truth("data.skew", {"path": largest}, verdict="degraded", rivals=("cpu.neighbour",))
    return Plan(
        stages=started(b, tool(b, "main", main)),
        truth=truth,
        happened=lambda run: run.status == 0,
    )


@fault("K")
def mount_permits_no_execution(b: Bench) -> Plan:
    """A library, or a program, is on a mount with noexec."""
    kind = b.draw.choice(("library", "program"))
    place = b.lab.mount("tmpfs", *(("noexec",) if b.sick else ()), size="30m")
    file = place / b.names.program()
    if kind == "library":
        found = sorted(Path("/usr/lib").glob("*/libz.so.1"))
        not_here(not found, "there is no libz")
        shutil.copy(found[0], file)
        words = tool(b, "victim", f"import ctypes\nctypes.CDLL({str(file)!r})")
    else:
        file.write_text("#!/bin/sh\nexit 0\n")
        file.chmod(0o755)
        words = str(file)
    truth = Truth("fs.noexec", {"path": str(file)}, rivals=("proc.interpreter",))
    return Plan(
        stages=started(b, words),
        truth=truth,
        happened=both(logged(f"{file.name}|failed to map"), failed),
    )
