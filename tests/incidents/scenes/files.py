"""What is in a file: torn, early, shared, replaced, old."""

from __future__ import annotations

import signal
import sys

from receiver.units import MIB
from tests.incidents.lab import Lab
from tests.incidents.results import Truth
from tests.incidents.scene import scene

WRITER = """
say("writer")
f = open(sys.argv[1], "w")
f.write("id,name,value\\n")
for n in range(int(sys.argv[2])):
    f.write(f"{n},user{n},{n * 7}\\n" * 20)
    f.flush()
    time.sleep(0.005)
f.close()
"""
READER = """
say("reader")
rows = open(sys.argv[1]).read().splitlines()
bad = [r for r in rows if len(r.split(",")) != 3]
if len(rows) < int(sys.argv[2]) or bad:
    print("validation failed:", len(rows), "rows,", len(bad), "of them broken")
    sys.exit(1)
"""


@scene("I10", "A", "K", group="files")
def a_torn_file_is_read(lab: Lab) -> Truth:
    """The writer is killed; the script goes on; the check fails on what is there."""
    out = str(lab.folder / "export.csv")
    writer, reader = lab.script(WRITER, "export"), lab.script(READER, "validate")
    go_on = ("|| true", "; true", "| tee -a run.log")[lab.variant]
    lab_command = lab.shell(
        f"{sys.executable} -S {writer} {out} 3000 {go_on}\nsleep 0.5\n"
        f"{sys.executable} -S {reader} {out} 60000\n"
    )

    def during() -> None:
        lab.send(
            "writer",
            (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM)[lab.variant],
            after=1.0 + 0.4 * lab.variant,
        )

    lab.run(lab_command, during)
    return Truth("fs.truncated", {"path": out}, rivals=("fs.read_early", "fs.enospc"))


@scene("-", "A", "K", group="files")
def a_file_is_read_too_early(lab: Lab) -> Truth:
    out = str(lab.folder / "export.csv")
    writer, reader = lab.script(WRITER, "export"), lab.script(READER, "validate")
    lab.run(
        lab.shell(
            f"{sys.executable} -S {writer} {out} {400 + 100 * lab.variant} & W=$!\n"
            f"sleep {1 + 0.3 * lab.variant}\n"
            f"{sys.executable} -S {reader} {out} 8000\nS=$?\nwait $W\nexit $S\n"
        )
    )
    return Truth("fs.read_early", {"path": out}, rivals=("fs.truncated", "fs.concurrent_writers"))


@scene("I30", "B", "K", group="files")
def two_write_one_file(lab: Lab) -> Truth:
    out = str(lab.folder / "part-0.csv")
    one = lab.script(WRITER.replace('"writer"', '"first"'), "load_a")
    two = lab.script(WRITER.replace('"writer"', '"second"'), "load_b")
    lab.run(
        lab.shell(
            f"{sys.executable} -S {one} {out} {250 + 50 * lab.variant} & A=$!\n"
            f"sleep 0.{4 + lab.variant}\n"
            f"{sys.executable} -S {two} {out} 250 & B=$!\nwait $A $B\nlines=$(wc -l < {out})\n"
            "[ $lines -gt 100000 ]\n"
        )
    )
    return Truth(
        "fs.concurrent_writers", {"path": out}, rivals=("fs.read_early", "proc.duplicate_run")
    )


@scene("-", "B", "K", group="files")
def a_file_is_cut_under_its_reader(lab: Lab) -> Truth:
    path = lab.folder / "lookup.bin"
    path.write_bytes(b"k" * (8 * MIB))
    if lab.variant == 1:
        code = """
say("reader")
f = open(sys.argv[1], "rb", buffering=0)
got = 0
while piece := f.read(65536):
    got += len(piece)
    time.sleep(0.02)
sys.exit(0 if got >= 8 << 20 else 1)
"""
    else:
        code = """
import mmap
say("reader")
f = open(sys.argv[1], "rb")
m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
for turn in range(100):
    sum(m[at] for at in range(0, len(m), 4096))
    time.sleep(0.05)
"""
    change = (
        f"say('changer')\nopen({str(path)!r}, 'w').write('new')\n"
        if lab.variant != 2
        else f"say('changer')\nos.truncate({str(path)!r}, 4096)\n"
    )
    reader, other = lab.script(code, "match"), lab.script(change, "refresh")
    lab.run(
        lab.shell(
            f"{sys.executable} -S {reader} {path} & R=$!\nsleep 1.2\n{sys.executable} -S {other}\n"
            "wait $R\n"
        )
    )
    return Truth(
        "fs.replaced", {"pid": "changer", "path": str(path)}, rivals=("crash.segv", "mem.shm_full")
    )


@scene("I56", "B", "P", group="files")
def an_old_partition_is_read(lab: Lab) -> Truth:
    """Upstream writes today's; the reader takes the date of yesterday."""
    old, new = (
        lab.folder / "data/dt=2024-01-14/users.csv",
        lab.folder / "data/dt=2024-01-15/users.csv",
    )
    for each in (old, new):
        each.parent.mkdir(parents=True)
    old.write_text("1,a,2\n" * 5000)
    writer = lab.script(
        f'say("writer")\nopen({str(new)!r}, "w").write("1,a,2\\n" * 9000)\n', "extract"
    )
    check = "" if lab.variant == 0 else "sys.exit(1 if len(rows) < 9000 else 0)\n"
    reader = lab.script(
        f'say("reader")\nrows = open({str(old)!r}).read().splitlines()\nprint(len(rows))\n{check}',
        "report",
    )
    lab.run(
        lab.shell(
            f"set -e\n{sys.executable} -S {writer}\nsleep 0.{2 + lab.variant}\n"
            f"{sys.executable} -S {reader}\n"
        )
    )
    return Truth("fs.stale_input", {"path": str(old)}, rivals=("fs.read_early", "fs.truncated"))
