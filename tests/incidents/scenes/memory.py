"""Who used the memory, and whom the kernel killed for it."""

from __future__ import annotations

import sys
import time

from receiver.units import MIB
from tests.incidents.lab import Lab
from tests.incidents.machine import join
from tests.incidents.results import Truth
from tests.incidents.scene import scene

GROW = """
say("grower")
held = []
for path in sys.argv[3:]:
    data = open(path, "rb").read()
    for start in range(0, len(data), 1 << 20):
        piece = data[start : start + (1 << 20)]
        held.append(bytearray(piece) + bytearray(len(piece) * int(sys.argv[1])))
        time.sleep(float(sys.argv[2]))
    if "--keep" not in sys.argv:
        held.clear()
print("done")
"""


def partitions(lab: Lab, sizes: list[int]) -> list[str]:
    out = []
    for day, size in enumerate(sizes, 1):
        folder = lab.folder / f"users/partition_date=2024-01-{day:02}"
        folder.mkdir(parents=True)
        (folder / "part-0.csv").write_bytes(b"1,user,2024\n" * (size * MIB // 12))
        out.append(str(folder / "part-0.csv"))
    return out


@scene("I01", "A", "K", group="oom")
def own_growth_on_one_partition(lab: Lab) -> Truth:
    group = lab.cgroup("memory", memory_limit_in_bytes=(96 + 32 * lab.variant) * MIB)
    files = partitions(lab, [4, 5, 4, 24 + 8 * lab.variant])
    program = lab.python(join(group) + GROW, "6", "0.02", *files)
    lab.run(lab.wrapped(program))
    return Truth(
        "mem.cgroup_oom",
        {"pid": "grower"},
        rivals=("mem.cgroup_neighbour", "kill.supervisor", "mem.host_oom"),
    )


@scene("I01", "A", "K", group="oom")
def quick_growth(lab: Lab) -> Truth:
    """Dead before it was ever looked at."""
    group = lab.cgroup("memory", memory_limit_in_bytes=(48 + 16 * lab.variant) * MIB)
    program = lab.python(
        join(group) + 'say("grower")\nheld = [bytearray(b"x" * (1 << 20)) for _ in range(4000)]\n'
    )
    lab.run(lab.wrapped(program))
    return Truth(
        "mem.cgroup_oom", {"pid": "grower"}, rivals=("mem.cgroup_neighbour", "kill.supervisor")
    )


NEIGHBOUR = """
held = []
while not os.path.exists(sys.argv[1]):
    time.sleep(0.1)
for _ in range(400):
    held.append(bytearray(b"x" * (4 << 20)))
    time.sleep(float(sys.argv[2]))
"""
QUIET = """
say("quiet")
held = bytearray(b"y" * (60 << 20))
open(sys.argv[1], "w").close()
for step in range(600):
    open(sys.argv[2], "a").write("row\\n" * 1000)
    time.sleep(0.05)
"""


@scene("I01", "A", "K", group="oom")
def a_neighbour_fills_the_memory(lab: Lab) -> Truth:
    """The neighbour is not observed; the victim is made the one that the kernel prefers."""
    group = lab.cgroup("memory", memory_limit_in_bytes=(192 + 64 * lab.variant) * MIB)
    flag = str(lab.folder / "begun")
    other = lab.outside(
        [
            sys.executable,
            "-S",
            "-c",
            "import os, sys, time\n" + join(group) + NEIGHBOUR,
            flag,
            ("0.1", "0.06", "0.15")[lab.variant],
        ]
    )
    prefer = 'open("/proc/self/oom_score_adj", "w").write("950")\n'
    lab.run(lab.wrapped(lab.python(join(group) + prefer + QUIET, flag, str(lab.folder / "rows"))))
    lab.pids["neighbour"] = other.pid
    return Truth(
        "mem.cgroup_neighbour", {"pid": "neighbour"}, rivals=("mem.cgroup_oom", "kill.supervisor")
    )


@scene("I01", "A", "K", group="oom")
def a_neighbour_of_the_same_script(lab: Lab) -> Truth:
    """Both are started by one script; the quiet one is killed."""
    group = lab.cgroup("memory", memory_limit_in_bytes=(200 + 50 * lab.variant) * MIB)
    flag, rows = str(lab.folder / "begun"), str(lab.folder / "rows")
    other = lab.script(join(group) + 'say("neighbour")\n' + NEIGHBOUR, "report")
    me = lab.script(
        join(group) + 'open("/proc/self/oom_score_adj", "w").write("950")\n' + QUIET, "load"
    )
    lab.run(
        lab.shell(
            f"{sys.executable} -S {other} {flag} 0.08 & OTHER=$!\n"
            f"{sys.executable} -S {me} {flag} {rows}\nS=$?\nkill $OTHER\nexit $S\n"
        )
    )
    return Truth(
        "mem.cgroup_neighbour", {"pid": "neighbour"}, rivals=("mem.cgroup_oom", "kill.supervisor")
    )


@scene("I03", "A", "K", group="oom")
def a_pool_loses_a_worker(lab: Lab) -> Truth:
    """multiprocessing.Pool waits for ever for a worker that the kernel killed;
    somebody gives up on it."""
    group = lab.cgroup("memory", memory_limit_in_bytes=(150 + 30 * lab.variant) * MIB)
    code = """
import multiprocessing, threading
def work(n):
    if n == 2:
        say("worker")
        open("/proc/self/oom_score_adj", "w").write("950")
        held = []
        for _ in range(400):
            held.append(bytearray(b"x" * (4 << 20)))
            time.sleep(0.03)
    time.sleep(0.2)
    return n
if __name__ == "__main__":
    say("parent")
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(work, range(4)))
"""

    def give_up() -> None:
        lab.wait("worker")
        time.sleep(12)
        lab.send("parent", 9)

    lab.run([sys.executable, lab.script(join(group) + code)], give_up)
    return Truth("mem.child_oom", {"pid": "worker"}, rivals=("hang.pipe_full", "kill.supervisor"))


@scene("I03", "A", "K", group="oom")
def the_parent_tells_of_a_broken_connection(lab: Lab) -> Truth:
    """A gateway on loopback, its child, is killed; the parent says that the connection was lost and
    leaves with 1."""
    group = lab.cgroup("memory", memory_limit_in_bytes=(80 + 20 * lab.variant) * MIB)
    server = lab.script(
        join(group)
        + """
import socket
say("worker")
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(4)
open(sys.argv[1], "w").write(str(s.getsockname()[1]))
c, _ = s.accept()
held = []
while True:
    n = c.recv(64)
    for _ in range(20):
        held.append(bytearray(b"x" * (2 << 20))); time.sleep(0.02)
    c.sendall(b"ok")
""",
        "gateway",
    )
    client = lab.python(
        """
import socket, subprocess
say("parent")
gateway = subprocess.Popen([sys.executable, "-S", sys.argv[1], sys.argv[2]])
while not os.path.exists(sys.argv[2]) or not open(sys.argv[2]).read():
    time.sleep(0.05)
c = socket.create_connection(("127.0.0.1", int(open(sys.argv[2]).read())))
for call in range(100):
    c.sendall(b"run")
    if not c.recv(64):
        print("Answer from the other side is empty")
        sys.exit(1)
""",
        server,
        str(lab.folder / "port"),
    )
    lab.run(client)
    return Truth("mem.child_oom", {"pid": "worker"}, rivals=("net.reset_short",))


@scene("-", "A", "K", group="oom")
def a_guard_kills_the_largest(lab: Lab) -> Truth:
    """A user-space killer: it looks at the memory of the group, and sends SIGKILL before
    the kernel would."""
    code = (
        'say("grower")\nheld = []\nfor _ in range(300):\n'
        '    held.append(bytearray(b"x" * (2 << 20)))\n    time.sleep(0.06)\n'
    )
    limit = (120 + 60 * lab.variant) * MIB

    def guard() -> None:
        pid = lab.wait("grower")
        program = f"""
import os, time
while True:
    rss = int(open("/proc/{pid}/statm").read().split()[1]) * 4096
    if rss > {limit}:
        os.kill({pid}, 9)
        break
    time.sleep(0.1)
"""
        child = lab.outside([sys.executable, "-S", "-c", program])
        lab.pids["guard"] = child.pid

    lab.run(lab.wrapped(lab.python(code)), guard)
    return Truth(
        "mem.userspace_killer", {"pid": "guard"}, rivals=("mem.cgroup_oom", "kill.supervisor")
    )
