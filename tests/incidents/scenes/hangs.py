"""Steps that do not go on: who waits for whom."""

from __future__ import annotations

import os
import signal
import sys

from tests.incidents.lab import Lab
from tests.incidents.results import Truth
from tests.incidents.scene import scene
from tests.incidents.scenes.refusals import PYTHON

RUNNERS = (
    (
        "import subprocess\np = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)\n"
        "for line in p.stdout: print(line)\nsys.exit(p.wait())\n"
    ),
    "import subprocess\nsys.exit(subprocess.run(sys.argv[1:], capture_output=True).returncode)\n",
    (
        "import asyncio\nasync def main():\n    p = await "
        "asyncio.create_subprocess_exec(*sys.argv[1:], stdout=-1, stderr=-1)\n"
        "    await p.communicate()\n    return p.returncode\nsys.exit(asyncio.run(main()))\n"
    ),
)


def _runner(lab: Lab, step: str, seconds: int) -> None:
    runner = lab.script(RUNNERS[lab.variant % 3], "runner")
    lab.run(["timeout", str(seconds), sys.executable, runner, "bash", step])


@scene("-", "A", "K", group="refusals")
def a_helper_keeps_the_pipe_of_its_step(lab: Lab) -> Truth:
    helper = lab.script('say("page")\ntime.sleep(60)\n', "page")
    tell = lab.folder / "pid"
    step = lab.folder / "step.sh"
    step.write_text(f"{PYTHON} {helper} &\necho $! > {tell}\nsleep 0.5\necho done\n")
    _runner(lab, str(step), 12)
    pid = int(tell.read_text())
    lab.clean_up(lambda: os.kill(pid, signal.SIGKILL))
    return Truth("hang.pipe_held", {"pid": pid}, rivals=("kill.timeout_orphan",))


@scene("-", "A", "K", group="refusals")
def a_step_that_works_for_too_long(lab: Lab) -> Truth:
    """The twin: the runner waits for the pipe, and the step that has it still works."""
    step = lab.folder / "step.sh"
    step.write_text("echo begin\nsleep 40\necho end\n")
    _runner(lab, str(step), 9)
    return Truth("kill.timeout_orphan")


@scene("-", "A", "K", group="refusals")
def a_fifo_that_nobody_opens(lab: Lab) -> Truth:
    feed = lab.folder / "feed"
    os.mkfifo(feed)
    step = (
        [sys.executable, "-S", "-c", f"print(open({str(feed)!r}).read())"],
        lab.shell(f"cat < {feed}\n", "step"),
        lab.shell(f"echo rows > {feed}\n", "step"),
    )[lab.variant]
    lab.run(["timeout", "10", *step])
    return Truth("hang.fifo_partner", {"path": str(feed)}, rivals=("kill.timeout_orphan",))


@scene("-", "A", "K", group="refusals")
def a_step_is_stopped(lab: Lab) -> Truth:
    """By somebody else, by a guard of the same job, or by itself."""
    step = lab.script('say("step")\nwhile True:\n    time.sleep(0.1)\n', "step")
    guard = lab.script(
        'say("guard")\ntime.sleep(1)\nos.kill(int(sys.argv[1]), 19)\ntime.sleep(30)\n', "guard"
    )
    if lab.variant == 0:
        lab.run(
            ["timeout", "11", sys.executable, "-S", step],
            lambda: lab.send("step", signal.SIGSTOP, after=0.5),
        )
        return Truth("hang.stopped", rivals=("kill.timeout_orphan",))
    if lab.variant == 1:
        lab.run(
            [
                "timeout",
                "11",
                *lab.shell(f"{PYTHON} {step} & S=$!\n{PYTHON} {guard} $S & wait $S\n"),
            ]
        )
        return Truth("hang.stopped", {"pid": lab.pids["guard"]})
    lab.run(["timeout", "11", *lab.shell("echo begin\nkill -STOP $$\necho end\n")])
    return Truth("hang.stopped")
