"""Work that is done twice or unevenly."""

from __future__ import annotations

import sys

from receiver.units import MIB
from tests.incidents.lab import Lab
from tests.incidents.results import Truth
from tests.incidents.scene import scene


@scene("I38", "B", "P", group="work")
def one_part_is_larger(lab: Lab) -> Truth:
    """A pool of processes, one for each file; one file is several times the others."""
    files = []
    for number, size in enumerate((6, 5, 6, 30 + 10 * lab.variant)):
        path = lab.folder / f"data/country={'abcd'[number]}/part.csv"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"1,2,3,user\n" * (size * MIB // 11))
        files.append(str(path))
    step = lab.script(
        (
            'say("w" + sys.argv[2])\nn = 0\nfor line in open(sys.argv[1]):\n'
            '    n += len(line.split(","))\nprint(n)\n'
        ),
        "count",
    )
    if lab.variant == 1:
        code = f"""
import multiprocessing
def work(path):
    n = 0
    for line in open(path):
        n += len(line.split(","))
    return n
if __name__ == "__main__":
    forks = multiprocessing.get_context("fork")
    processes = [forks.Process(target=work, args=(p,)) for p in {files!r}]
    [p.start() for p in processes]
    [p.join() for p in processes]
"""
        lab.run([sys.executable, lab.script(code)])
    else:
        lines = "\n".join(f"{sys.executable} -S {step} {p} {n} &" for n, p in enumerate(files))
        lab.run(lab.shell(f"{lines}\nwait\n"))
    return Truth("data.skew", {"path": files[-1]}, rivals=("cpu.neighbour",), verdict="degraded")


@scene("I38", "B", "P", group="work")
def a_day_larger_than_all_before(lab: Lab) -> Truth:
    """One partition a run: only earlier runs can say that this one is large."""
    lab.history = lab.folder / "history.db"
    step = lab.script(
        (
            'n = 0\nfor line in open(sys.argv[1]):\n    n += len(line.split(","))\n'
            'time.sleep(0.1)\nopen("count", "w").write(str(n))\n'
        ),
        "count",
    )
    keep, lab.keep = lab.keep, None
    for day in range(1, 8):
        path = lab.folder / f"data/partition_date=2024-01-0{day}/part.csv"
        path.parent.mkdir(parents=True)
        size = 4 * MIB + day * 50_000 if day < 7 else (20 + 8 * lab.variant) * MIB
        path.write_bytes(b"1,2,3,user\n" * (size // 11))
        lab.keep = keep if day == 7 else None
        lab.run(lab.wrapped([sys.executable, "-S", step, str(path)]))
    return Truth("data.skew", {"path": str(path)}, rivals=("cpu.neighbour",))


@scene("I21", "B", "P", group="work")
def the_same_task_runs_twice(lab: Lab) -> Truth:
    out = str(lab.folder / "table.csv")
    step = lab.script(
        'say("run" + str(os.getpid()))\nf = open(sys.argv[1], "w")\nfor n in range(300):\n'
        '    f.write("row\\n" * 200)\n    f.flush()\n    time.sleep(0.01)\n'
    )
    wait = 1 + lab.variant * 0.5
    lab.run(
        lab.shell(
            f"{sys.executable} -S {step} {out} & A=$!\nsleep {wait}\n"
            f"{sys.executable} -S {step} {out} & B=$!\nwait $A $B\ntest $(wc -l < {out}) = 60000\n"
        )
    )
    return Truth("proc.duplicate_run", {"any_pid": True}, rivals=("fs.concurrent_writers",))
