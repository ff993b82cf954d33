"""CPU that was not had, and waits that do not end."""

from __future__ import annotations

import os
import sys
import time

from tests.incidents.lab import Lab
from tests.incidents.results import Truth
from tests.incidents.scene import scene

BUSY = """
import threading
say("worker")
def spin():
    end = time.time() + float(sys.argv[1])
    while time.time() < end:
        sum(range(10000))
for _ in range(int(sys.argv[2])):
    threading.Thread(target=spin).start()
"""


@scene("I27", "B", "K", group="cpu")
def a_quota_throttles(lab: Lab) -> Truth:
    group = lab.cgroup("cpu")
    (group / "cpu.cfs_period_us").write_text("100000")
    (group / "cpu.cfs_quota_us").write_text(str(20000 + 5000 * lab.variant))
    enter = f"open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
    lab.run(lab.wrapped(lab.python(enter + BUSY, "11", str(3 + lab.variant))))
    return Truth("cpu.quota", {"pid": "worker"}, rivals=("cpu.neighbour",), verdict="degraded")


@scene("-", "B", "K", group="cpu")
def others_take_the_cpu(lab: Lab) -> Truth:
    program = (
        "import sys, time\nend = time.time() + 14\nwhile time.time() < end:\n"
        "    sum(range(10000))\n"
    )

    def during() -> None:
        lab.wait("worker")
        others = [
            lab.outside([sys.executable, "-S", "-c", program]) for _ in range(2 + lab.variant)
        ]
        for each in others:
            os.sched_setaffinity(each.pid, {0})
        lab.pids.update({f"other{n}": each.pid for n, each in enumerate(others)})
        time.sleep(1)

    lab.run(lab.wrapped(lab.python("os.sched_setaffinity(0, {0})\n" + BUSY, "11", "1")), during)
    return Truth(
        "cpu.neighbour",
        {"pids": [p for r, p in lab.pids.items() if r.startswith("other")]},
        rivals=("cpu.quota",),
        verdict="degraded",
    )


@scene("I22", "B", "K", group="hang")
def a_fork_waits_for_a_lock(lab: Lab) -> Truth:
    code = """
import threading
lock = threading.Lock()
def hold():
    with lock:
        time.sleep(60)
threading.Thread(target=hold, daemon=True).start()
time.sleep(1.5)
pid = os.fork()
if not pid:
    say("child")
    lock.acquire()
    os._exit(0)
say("parent")
_, status = os.waitpid(pid, 0)
os._exit(1 if status else 0)
"""

    def during() -> None:
        lab.wait("child")
        time.sleep(9 + lab.variant)
        lab.send("child", 9)

    lab.run(lab.wrapped(lab.python(code)), during)
    return Truth("hang.fork_lock", {"pid": "child"}, rivals=("kill.supervisor", "hang.pipe_full"))


@scene("-", "B", "K", group="hang")
def a_pipe_is_full(lab: Lab) -> Truth:
    child = lab.script(
        (
            'say2 = print("@child", os.getpid(), file=sys.stderr, flush=True)\n'
            'for n in range(200000):\n    print("log line", n)\n'
        ),
        "tool",
    )
    code = f"""
import subprocess
say("parent")
child = subprocess.Popen([sys.executable, "-S", {child!r}], stdout=subprocess.PIPE)
child.wait()
sys.exit(0)
"""

    def during() -> None:
        lab.wait("child")
        time.sleep(9 + lab.variant)
        lab.send("child" if lab.variant != 1 else "parent", 9 if lab.variant != 1 else 15)

    lab.run(lab.python(code), during)
    return Truth("hang.pipe_full", {"pid": "parent"}, rivals=("hang.fork_lock", "kill.supervisor"))
