"""Crashes, lost statuses, programs that do not start, limits."""

from __future__ import annotations

import subprocess
import sys

from tests.incidents.lab import Lab
from tests.incidents.results import Truth
from tests.incidents.scene import scene


@scene("I23", "B", "K", group="crash")
def native_code_crashes(lab: Lab) -> Truth:
    if lab.variant == 1:
        source = lab.folder / "work.c"
        source.write_text(
            "#include <stdio.h>\n#include <unistd.h>\nstatic int parse(int *p) { return *p; }\n"
            'int main(void) { printf("@victim %d\\n'
            '", getpid()); fflush(stdout); sleep(1); return parse((int *)16); }\n'
        )
        subprocess.run(
            ["gcc", "-g", "-O0", "-o", str(lab.folder / "work"), str(source)], check=True
        )
        lab.run(lab.wrapped([str(lab.folder / "work")]))
    else:
        lab.run(
            lab.wrapped(
                lab.python('import ctypes\nsay("victim")\ntime.sleep(0.5)\nctypes.string_at(0)\n')
            )
        )
    return Truth("crash.segv", {"pid": "victim"}, rivals=("kill.supervisor", "crash.abort_ill"))


@scene("I23", "B", "K", group="crash")
def it_aborts(lab: Lab) -> Truth:
    code = (
        'say("victim")\ntime.sleep(0.4)\nos.abort()\n',
        'import ctypes\nsay("victim")\nctypes.CDLL(None).abort()\n',
        'import signal\nsay("victim")\ntime.sleep(0.2)\nsignal.raise_signal(signal.SIGILL)\n',
    )[lab.variant]
    lab.run(lab.wrapped(lab.python(code)))
    return Truth("crash.abort_ill", {"pid": "victim"}, rivals=("kill.supervisor", "crash.segv"))


@scene("-", "A", "K", group="crash")
def somebody_sends_it_a_segv(lab: Lab) -> Truth:
    """139 that is no crash: a kill(2) from outside."""

    def during() -> None:
        pid = lab.wait("victim")
        child = lab.outside(
            [
                sys.executable,
                "-S",
                "-c",
                (
                    f"import os, time; time.sleep(1.3); os.kill({pid}, "
                    f"{(11, 6, 11)[lab.variant]}); time.sleep(1)"
                ),
            ]
        )
        lab.pids["sender"] = child.pid

    lab.run(
        lab.wrapped(
            lab.python('say("victim")\nwhile True:\n    sum(range(9999))\n    time.sleep(0.01)\n')
        ),
        during,
    )
    return Truth("kill.supervisor", {"pid": "sender"}, rivals=("mem.cgroup_oom", "kill.drain"))


@scene("I12", "A", "K", group="masked")
def a_pipe_hides_a_failure(lab: Lab) -> Truth:
    out = lab.folder / "out.csv"
    fail = ("sys.exit(3)", "os.kill(os.getpid(), 9)", "raise SystemExit(1)")[lab.variant]
    step = lab.script(
        f'say("child")\nprint("1,2,3")\nsys.stdout.flush()\ntime.sleep(0.6)\n{fail}\n', "extract"
    )
    line = (
        f"{sys.executable} -S {step} | grep -v @ | tee {out}",
        f"{sys.executable} -S {step} | gzip > {out}.gz",
        f"{sys.executable} -S {step} || true",
    )[lab.variant]
    line = line if lab.variant != 1 else line.replace("| gzip", "2>&1 | gzip")
    lab.run(lab.shell(f"echo @shell $$\n{line}\necho finished\n"))
    return Truth(
        "proc.exit_masked", {"pid": "shell", "any_pid_below": "shell"}, rivals=("kill.swallowed",)
    )


@scene("I39", "B", "K", group="masked")
def a_reader_has_enough(lab: Lab) -> Truth:
    step = lab.script(
        (
            "import signal\nsignal.signal(signal.SIGPIPE, signal.SIG_DFL)\n"
            'print("@producer", os.getpid(), file=sys.stderr, flush=True)\n'
            'for n in range(400000):\n    print(n, "row")\n'
        ),
        "list",
    )
    line = (
        f"{sys.executable} -S {step} | head -n 3 > head.txt",
        f"{sys.executable} -S {step} | head -c 90 > head.txt",
        "seq 1 9000000 | head -n 2 > head.txt",
    )[lab.variant]
    lab.run(lab.shell(f"set -euo pipefail\n{line}\necho end\n"))
    return Truth(
        "proc.sigpipe",
        {"pid": "producer"} if lab.variant < 2 else {"name": "seq"},
        rivals=("kill.supervisor",),
    )


@scene("-", "A", "K", group="masked")
def a_program_is_missing(lab: Lab) -> Truth:
    if lab.variant == 0:
        lab.run(lab.shell("set -e\necho @shell $$\nspark_submit --master local job.py\n"))
        return Truth(
            "proc.interpreter",
            {"path": "spark_submit", "pid": "shell"},
            rivals=("mem.cgroup_oom", "fs.eacces"),
        )
    script = lab.folder / "step"
    script.write_text(
        "#!/opt/python3.8/bin/python\nprint(1)\n" if lab.variant == 1 else "print(1)\n"
    )
    script.chmod(0o755 if lab.variant == 1 else 0o644)
    lab.run(lab.shell(f"set -e\necho begin\n{script}\n"))
    return Truth("proc.interpreter", {"path": str(script)}, rivals=("mem.cgroup_oom", "fs.eacces"))


@scene("I25", "B", "K", group="limits")
def descriptors_run_out(lab: Lab) -> Truth:
    kinds = (
        'held.append(open("/etc/hostname"))',
        "held.append(socket.socket())",
        "held.append(os.pipe())",
    )
    code = (
        'import socket\nsay("leaker")\nheld = []\nfor _ in range(4000):\n'
        f"    {kinds[lab.variant]}\n    time.sleep(0.002)\n"
    )
    line = " ".join(f"'{w}'" for w in lab.python(code))
    lab.run(lab.shell(f"ulimit -n {64 + 64 * lab.variant}\n{line}\n"))
    return Truth("lim.emfile", {"pid": "leaker"}, rivals=("lim.pids", "fs.eacces"))


@scene("-", "B", "K", group="limits")
def no_process_is_left(lab: Lab) -> Truth:
    group = lab.cgroup("pids", pids_max=20 + 10 * lab.variant)
    enter = f"open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
    if lab.variant == 1:
        code = enter + (
            'import threading\nsay("maker")\nfor _ in range(100):\n'
            "    threading.Thread(target=time.sleep, args=(4,), daemon=True).start()\n"
        )
    else:
        code = enter + (
            'say("maker")\nfor _ in range(100):\n    if not os.fork():\n        time.sleep(6)\n'
            "        os._exit(0)\n"
        )
    lab.run(lab.python(code))
    return Truth("lim.pids", {"pid": "maker"}, rivals=("proc.zombies", "lim.emfile"))


@scene("I47", "C", "K", variants=2, group="limits")
def nobody_reaps(lab: Lab) -> Truth:
    group = lab.cgroup("pids", pids_max=40 + 20 * lab.variant)
    enter = f"open({str(group / 'cgroup.procs')!r}, 'w').write(str(os.getpid()))\n"
    code = enter + (
        'say("parent")\nfor _ in range(200):\n    if not os.fork():\n        os._exit(0)\n'
        "    time.sleep(0.02)\n"
    )
    lab.run(lab.python(code))
    return Truth("proc.zombies", {"pid": "parent"}, rivals=("lim.pids",))
