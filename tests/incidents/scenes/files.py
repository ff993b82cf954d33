"""Files: torn, early, full, locked, denied, shared, replaced, old, slow."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from receiver.units import MIB
from tests.incidents.lab import Lab, Truth, scene

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


@scene("I13", "A", "K", group="files")
def a_disk_is_full(lab: Lab) -> Truth:
    """By itself, or filled by another step before it."""
    place = lab.mount("tmpfs" if lab.variant != 1 else "ext4", size="16m")
    own = place / "out.parquet"
    filler = lab.script(
        (
            f'say("filler")\nopen({str(place / "spill.bin")!r}, "wb").write(b"x" * '
            f"({11 + lab.variant} << 20))\n"
        ),
        "cache",
    )
    victim = lab.script(
        (
            f'say("victim")\nf = open({str(own)!r}, "wb")\nfor _ in range(64):\n'
            '    f.write(b"y" * (1 << 18))\n    f.flush()\n'
        ),
        "load",
    )
    if lab.variant == 2:
        lab.run(
            lab.python(
                f'say("victim")\nf = open({str(own)!r}, "wb")\nfor _ in range(96):\n'
                '    f.write(b"y" * (1 << 18))\n    f.flush()\n'
            )
        )
        return Truth(
            "fs.enospc",
            {"pid": "victim", "path": str(own)},
            rivals=("fs.inodes_quota", "fs.eacces"),
        )
    lab.run(lab.shell(f"set -e\n{sys.executable} -S {filler}\n{sys.executable} -S {victim}\n"))
    return Truth("fs.enospc", {"pid": "filler"}, rivals=("fs.inodes_quota", "fs.eacces"))


@scene("-", "B", "K", group="files")
def no_inode_is_left(lab: Lab) -> Truth:
    place = lab.mount("tmpfs", f"nr_inodes={60 + 20 * lab.variant}", size="64m")
    code = (
        'say("maker")\nfor n in range(500):\n'
        f'    open({str(place)!r} + f"/part-{{n}}.json", "w").write("x" * 100)\n'
    )
    lab.run(lab.wrapped(lab.python(code)))
    return Truth("fs.inodes_quota", {"pid": "maker"}, rivals=("fs.enospc", "fs.eacces"))


HOLDER = """
import fcntl
say("holder")
f = open(sys.argv[1], "w+")
fcntl.lockf(f, fcntl.LOCK_EX)
time.sleep(float(sys.argv[2]))
"""


@scene("I18", "B", "K", group="files")
def a_lock_is_held(lab: Lab) -> Truth:
    """By a process that is not observed, or by one that is; fcntl or flock."""
    path = str(lab.folder / "warehouse.duckdb")
    how = (
        "fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)"
        if lab.variant != 2
        else "fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)"
    )
    code = f"""
import fcntl
say("victim")
time.sleep(0.8)
f = open({path!r}, "r+")
try:
    {how}
except OSError as e:
    print("Conflicting lock is held", e)
    sys.exit(1)
"""
    held = HOLDER if lab.variant != 2 else HOLDER.replace("lockf", "flock")
    if lab.variant == 0:
        other = lab.outside(
            [
                sys.executable,
                "-S",
                "-u",
                "-c",
                "import os, sys, time\nsay = print\n" + held,
                path,
                "30",
            ],
            ready="holder",
        )
        lab.pids["holder"] = other.pid
        lab.run(lab.wrapped(lab.python(code)))
    else:
        one, two = lab.script(held, "ide"), lab.script(code, "model")
        lab.run(
            lab.shell(
                f"{sys.executable} -S {one} {path} 4 & H=$!\nsleep 0.6\n{sys.executable} -S {two}\n"
                "S=$?\nkill $H\nexit $S\n"
            )
        )
    return Truth("fs.lock", {"pid": "holder"}, rivals=("fs.eacces",))


@scene("I19", "B", "K", group="files")
def a_directory_of_somebody_else(lab: Lab) -> Truth:
    os.chmod(lab.folder, 0o755)
    logs = lab.folder / "logs"
    target = str(logs / "run.csv")
    code = (
        'os.setgid(65534); os.setuid(65534)\nsay("victim")\ntime.sleep(0.3)\n'
        f'open({target!r}, "w").write("x")\n'
    )
    if lab.variant == 0:
        logs.mkdir(mode=0o700)
        lab.run(lab.python(code))
    elif lab.variant == 1:
        lab.run(
            lab.shell(
                f"set -e\nmkdir -m 700 {logs}\n"
                + " ".join(f"'{w}'" for w in lab.python(code))
                + "\n"
            )
        )
    else:
        logs.mkdir()
        (logs / "run.csv").write_text("old")
        os.chmod(logs / "run.csv", 0o400)
        lab.run(lab.wrapped(lab.python(code)))
    return Truth("fs.eacces", {"path": target}, rivals=("fs.enospc", "proc.interpreter"))


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


@scene("I33", "B", "K")
def storage_stands_still(lab: Lab) -> Truth:
    """The file system is frozen while a writer writes; thawed later."""
    place = lab.mount("ext4", size="64m")
    out = place / "out.csv"
    code = f"""
say("writer")
f = open({str(out)!r}, "wb")
for n in range(60):
    f.write(b"x" * 200000)
    f.flush()
    time.sleep(0.02)
    if n == 20: open({str(lab.folder / "go")!r}, "w").close()
"""

    def during() -> None:
        lab.wait("writer")
        while not (lab.folder / "go").exists():
            time.sleep(0.05)
        subprocess.run(["fsfreeze", "-f", str(place)], check=True)
        time.sleep(8 + 2 * lab.variant)
        subprocess.run(["fsfreeze", "-u", str(place)], check=True)

    lab.run(lab.wrapped(lab.python(code)), during, timeout=60)
    return Truth(
        "fs.slow_io",
        {"path": str(out)},
        rivals=("mem.thrash", "net.silent_peer"),
        verdict="degraded",
    )
