"""Signals: by whom and why."""

from __future__ import annotations

import signal
import sys
import time

from tests.incidents.lab import Lab
from tests.incidents.results import Truth
from tests.incidents.scene import scene

WORK = """
say("worker")
end = time.time() + float(sys.argv[1])
f = open(sys.argv[2], "a")
while time.time() < end:
    sum(range(20000))
    f.write("row\\n" * 100)
    f.flush()
    time.sleep(0.01)
"""


def work(lab: Lab, seconds: int = 30, before: str = "") -> list[str]:
    return lab.python(before + WORK, str(seconds), str(lab.folder / "rows.log"))


@scene("-", "A", "K", group="kill")
def somebody_kills_it(lab: Lab) -> Truth:
    """From outside, with TERM or KILL: 143 and 137 that are no OOM."""
    number = (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL)[lab.variant]

    def during() -> None:
        pid = lab.wait("worker")
        time.sleep(1.7)
        child = lab.outside(
            [
                sys.executable,
                "-S",
                "-c",
                f"import os, time; os.kill({pid}, {int(number)}); time.sleep(1)",
            ]
        )
        lab.pids["sender"] = child.pid

    lab.run(lab.wrapped(work(lab)), during)
    return Truth("kill.supervisor", {"pid": "sender"}, rivals=("mem.cgroup_oom", "kill.drain"))


@scene("-", "A", "K", group="kill")
def its_parent_kills_it(lab: Lab) -> Truth:
    """A supervisor of the same task, at no round age, for a reason of its own (a command file)."""
    child = lab.script(WORK, "step")
    code = f"""
import subprocess
say("sender")
child = subprocess.Popen([sys.executable, "-S", {child!r}, "30", {str(lab.folder / "rows.log")!r}])
while not os.path.exists({str(lab.folder / "stop")!r}):
    time.sleep(0.05)
child.{("terminate", "kill", "terminate")[lab.variant]}()
sys.exit(1 if child.wait() else 0)
"""

    def during() -> None:
        lab.wait("worker")
        time.sleep(2.33 + 0.37 * lab.variant)
        (lab.folder / "stop").touch()

    lab.run(lab.python(code), during)
    return Truth(
        "kill.supervisor", {"pid": "sender"}, rivals=("mem.cgroup_oom", "kill.timeout_orphan")
    )


@scene("I08", "A", "P", group="kill")
def a_group_is_drained(lab: Lab) -> Truth:
    """TERM to all, KILL to what is left after the grace."""
    stubborn = "import signal\nsignal.signal(signal.SIGTERM, lambda *a: None)\n"
    before = stubborn if lab.variant else ""
    child = lab.script(before + WORK, "step")
    code = f"""
import subprocess, signal
os.setsid()
say("leader")
command = [sys.executable, "-S", {child!r}, "30", {str(lab.folder / "rows.log")!r}]
children = [subprocess.Popen(command) for _ in range({2 + lab.variant})]
signal.signal(signal.SIGTERM, lambda *a: None)
say("ready")
bad = [c.wait() for c in children]
sys.exit(143 if any(bad) else 0)
"""
    grace = (1, 2, 3)[lab.variant]

    def during() -> None:
        leader = lab.wait("leader")
        lab.wait("ready")
        time.sleep(1.6)
        program = f"""
import os, time
os.killpg({leader}, 15)
time.sleep({grace})
try:
    os.killpg({leader}, 9)
except ProcessLookupError:
    pass
time.sleep(1)
"""
        lab.pids["sender"] = lab.outside([sys.executable, "-S", "-c", program]).pid

    lab.run(lab.python(code), during)
    return Truth("kill.drain", {"pid": "sender"}, rivals=("kill.supervisor", "mem.cgroup_oom"))


@scene("I06", "A", "P", group="kill")
def a_late_heartbeat(lab: Lab) -> Truth:
    """The supervisor asks its server for leave; the server is slow once;
    so it ends the worker, which was busy."""
    child = lab.script(WORK, "step")
    lab.outside(
        [
            sys.executable,
            "-S",
            "-c",
            """
import socket, sys, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(4)
print("port", s.getsockname()[1], flush=True)
open(sys.argv[1], "w").write(str(s.getsockname()[1]))
c, _ = s.accept()
n = 0
while c.recv(64):
    n += 1
    if n > 4: time.sleep(30)
    c.sendall(b"ok")
""",
            str(lab.folder / "port"),
        ],
        ready="port",
    )
    code = f"""
import subprocess, socket
say("supervisor")
child = subprocess.Popen([sys.executable, "-S", {child!r}, "60", {str(lab.folder / "rows.log")!r}])
api = socket.create_connection(("127.0.0.1", int(open({str(lab.folder / "port")!r}).read())))
api.settimeout({(3, 4, 6)[lab.variant]})
try:
    while child.poll() is None:
        api.sendall(b"alive")
        api.recv(64)
        time.sleep(0.5)
except TimeoutError:
    child.terminate()
sys.exit(1 if child.wait() else 0)
"""
    lab.run(lab.python(code, name="runner"))
    return Truth(
        "kill.heartbeat", {"pid": "supervisor"}, rivals=("kill.supervisor", "mem.cgroup_oom")
    )


@scene("I29", "B", "P", group="kill")
def a_probe_that_is_too_slow(lab: Lab) -> Truth:
    probe = lab.script("import time\ntime.sleep(5)\n", "status")
    child = lab.script(WORK, "server")
    limit = (1, 1.5, 2)[lab.variant]
    code = f"""
import subprocess
say("prober")
main = subprocess.Popen([sys.executable, "-S", {child!r}, "60", {str(lab.folder / "rows.log")!r}])
for _ in range(3):
    time.sleep(0.7)
    try:
        subprocess.run([sys.executable, "-S", {probe!r}], timeout={limit})
    except subprocess.TimeoutExpired:
        pass
main.terminate()
sys.exit(1 if main.wait() else 0)
"""
    lab.run(lab.python(code, name="manager"))
    return Truth("kill.probe", {"pid": "prober"}, rivals=("kill.supervisor", "kill.drain"))


@scene("-", "A", "K", group="kill")
def a_time_limit(lab: Lab) -> Truth:
    """timeout(1), a timer of its own, or a runner's limit of whole seconds."""
    if lab.variant == 0:
        line = " ".join(f"'{w}'" for w in work(lab))
        lab.run(lab.shell(f"timeout 2.5 {line}\n"))
        return Truth(
            "kill.timeout_orphan",
            {"pid": "worker", "name": "timeout"},
            rivals=("kill.supervisor", "mem.cgroup_oom"),
        )
    if lab.variant == 1:
        lab.run(work(lab, before="import signal\nsignal.alarm(3)\n"))
        return Truth("kill.timeout_orphan", {"pid": "worker"}, rivals=("kill.supervisor",))
    child = lab.script(WORK, "step")
    code = f"""
import subprocess
say("runner")
command = [sys.executable, "-S", {child!r}, "60", {str(lab.folder / "rows.log")!r}]
try:
    subprocess.run(command, timeout=3)
except subprocess.TimeoutExpired:
    sys.exit(1)
"""
    lab.run(lab.python(code, name="runner"))
    return Truth("kill.timeout_orphan", {"pid": "runner"}, rivals=("kill.supervisor",))


@scene("-", "A", "K", group="kill")
def a_time_limit_that_leaves_an_orphan(lab: Lab) -> Truth:
    step = lab.script(
        (
            'say("orphan")\nend = time.time() + 8\nwhile time.time() < end:\n    sum(range(9999))\n'
            "    time.sleep(0.02)\n"
        ),
        "inner",
    )
    seconds = (2, 2.5, 3)[lab.variant]
    lab.run(
        lab.shell(
            f"timeout {seconds} bash -c '{sys.executable} -S {step}; true'\nS=$?\nsleep 1.5\n"
            "exit $S\n"
        )
    )
    return Truth("kill.timeout_orphan", {"name": "timeout"}, rivals=("kill.supervisor",))


@scene("I09", "A", "K", group="kill")
def a_signal_is_swallowed(lab: Lab) -> Truth:
    """TERM in the middle of the work; the handler lets go, and the status is 0."""
    out = str(lab.folder / "rows.csv")
    if lab.variant == 1:
        child = lab.script(
            (
                'say("child")\nf = open(sys.argv[1], "w")\nwhile True:\n    f.write("row\\n'
                '" * 500)\n    f.flush()\n    time.sleep(0.02)\n'
            ),
            "step",
        )
        command = lab.shell(
            f"echo @shell $$\n{sys.executable} -S {child} {out} & P=$!\n"
            "trap 'kill $P; exit 0' TERM\nwait $P\n"
        )
        role = "shell"
    else:
        code = f"""
import signal
def bye(*a):
    sys.exit(0)
signal.signal(signal.SIGTERM, bye)
say("shell")
f = open({out!r}, "w")
for n in range(3000):
    f.write("row\\n" * 500)
    f.flush()
    time.sleep(0.02)
"""
        command, role = lab.python(code), "shell"

    def during() -> None:
        lab.wait(role)
        lab.send(role, signal.SIGTERM, after=1.6 + 0.5 * lab.variant)

    lab.run(command, during)
    return Truth("kill.swallowed", {"pid": role}, rivals=("proc.exit_masked",))


@scene("I54", "-", "K", group="kill")
def a_signal_after_the_work(lab: Lab) -> Truth:
    """Healthy: output closed and renamed, then TERM in the cleanup."""
    out = str(lab.folder / "rows.csv")
    code = f"""
import signal
signal.signal(signal.SIGTERM, lambda *a: sys.exit(0))
with open({out!r} + ".tmp", "w") as f:
    for n in range(50):
        f.write("row\\n" * 500)
os.rename({out!r} + ".tmp", {out!r})
say("worker")
time.sleep(8)
"""

    def during() -> None:
        lab.wait("worker")
        lab.send("worker", signal.SIGTERM, after=0.8)

    lab.run(lab.python(code), during)
    return Truth("none.healthy", verdict="healthy")
