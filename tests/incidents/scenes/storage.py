"""Where files are: full, locked, denied, slow."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from tests.incidents.lab import Lab
from tests.incidents.results import Truth
from tests.incidents.scene import scene


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
