"""Floods that an unprivileged user can make for free, and a victim's task of another user,
to see what is left of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import msgspec

from receiver.events import Ledger
from receiver.investigate.compose import investigate
from receiver.investigate.report import Hypothesis, Report
from receiver.kernel.source_config import SourceConfig
from receiver.model import CoreOptions
from receiver.service.app import Observer
from receiver.work.execution import Execution
from tests.builders import Calls

FLOODER, VICTIM = 1000, 1001
CHILDREN = 50
_BEGIN = "import ctypes, os, signal, socket\nlibc = ctypes.CDLL(None)\nprint('up', flush=True)\n"
_FLOODS = {
    "titles": "while True: libc.prctl(15, b'flood', 0, 0, 0)",
    "forks": """
while True:
    if os.fork() == 0: os._exit(0)
    os.wait()
""",
    "execs": """
while True: os.waitpid(os.posix_spawn("/bin/true", ["true", "x" * 3000], {}), 0)
""",
    # the child has a handler and never runs it: each call is a signal by somebody else,
    # and most find one pending
    "signals": """
r, w = os.pipe()
pid = os.fork()
if not pid:
    signal.signal(10, print)
    signal.pthread_sigmask(0, [10])
    os.write(w, b"x")
    while True: signal.sigtimedwait([12], 60)
os.read(r, 1)
while True: os.kill(pid, 10)
""",
    "kills": """
while True:
    pid = os.fork()
    if not pid: signal.pause()
    os.kill(pid, 9)
    os.wait()
""",
    "connections": """
refuses = socket.socket()
refuses.bind(("127.0.0.1", 0))
at = refuses.getsockname()
while True:
    with socket.socket() as s: s.connect_ex(at)
""",
    # a process reports some 500 files and changes by name: many processes
    "files": """
while True:
    pid = os.fork()
    if not pid:
        path = f"/tmp/kwitness-flood-{os.getpid()}"
        for _ in range(200):
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
            os.unlink(path)
        os._exit(0)
    os.wait()
""",
}
FLOODS = {kind: _BEGIN + code for kind, code in _FLOODS.items()}
# Files and connections are reported of watched processes only: whoever sets these variables is one.
# The run is this test's own: other tasks on the host may have the same name.
TASK = {
    "AIRFLOW_CTX_DAG_ID": "etl",
    "AIRFLOW_CTX_TASK_ID": "load",
    "AIRFLOW_CTX_DAG_RUN_ID": f"flood-{os.getpid()}",
}
OWN = {
    "AIRFLOW_CTX_DAG_ID": "flood",
    "AIRFLOW_CTX_TASK_ID": "flood",
    "AIRFLOW_CTX_DAG_RUN_ID": f"flooder-{os.getpid()}",
}
_TASK = f"""
import ctypes, os, signal, sys, time
titles = int(sys.argv[1])
libc = ctypes.CDLL(None)
for _ in range({CHILDREN}):
    if titles:
        for _ in range(titles): libc.prctl(15, b"own flood", 0, 0, 0)
    pid = os.posix_spawn("/bin/sleep", ["sleep", "0.01"], os.environ)
    assert os.waitpid(pid, 0)[1] == 0
pid = os.posix_spawn("/bin/sleep", ["sleep", "60"], os.environ)
time.sleep(0.05)
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
sys.exit(3)
"""


def as_user(uid: int, code: str, *arguments: str) -> list[str]:
    who = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    return [*who, "/usr/bin/python3", "-I", "-S", "-c", code, *arguments]


@contextmanager
def flood(kind: str, *, watched: bool, processes: int = 2, uid: int = FLOODER) -> Iterator[None]:
    """`processes` of them run inside of the block, each already at it when it is entered."""
    env = {"PATH": os.environ["PATH"]} | (OWN if watched else {})
    running = []
    try:
        for _ in range(processes):
            child = subprocess.Popen(
                as_user(uid, FLOODS[kind]),
                env=env,
                stdout=subprocess.PIPE,
                start_new_session=True,
                cwd="/",
            )
            running.append(child)
            assert child.stdout is not None and child.stdout.readline() == b"up\n"
        yield
    finally:
        for child in running:
            os.killpg(child.pid, 9)
            assert child.stdout is not None
            child.stdout.close()
            child.wait()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the victim's task when it is over."""

    execution: Execution | None
    report: Report | None
    sleeps: int  # processes of it that were seen, each with its exec and its end
    killed: int
    losses: dict[tuple[str, str], int]
    ledger: Ledger
    flooder: Report | None  # on the flooder's own work, if it is watched

    def lost(self, reason: str) -> tuple[bool, bool]:
        """Whether the victim's report and the flooder's have events lost for this reason."""
        reports = (self.report, self.flooder)
        assert None not in reports
        victim, flooder = (
            any(entry["reason"] == reason for entry in r.completeness.lost) for r in reports if r
        )
        return victim, flooder

    def is_whole(self) -> bool:
        """Nothing of the task is missing, and its result and its incident are right."""
        return (
            self.execution is not None
            and self.report is not None
            and (self.execution.result, self.execution.incomplete) == ("failure", False)
            and (self.sleeps, self.killed) == (CHILDREN + 1, 1)
            and self.report.verdict == "incident"
            and any(h.cause == "kill.supervisor" for h in self.hypotheses())
        )

    def hypotheses(self) -> list[Hypothesis]:
        """Of all incidents: on a busy machine a neighbour that takes the CPU is a true one beside
        the kill."""
        if self.report is None:
            return []
        return [
            *self.report.hypotheses,
            *(h for other in self.report.other_incidents for h in other.hypotheses),
        ]


def _outcome(observer: Observer, execution: Execution | None, flooder: Execution | None) -> Outcome:
    report, sleeps, killed, now = None, 0, 0, observer.core.members.read_at_ns
    if execution is not None:
        case = observer.core.case(execution, now)
        report = investigate(case)
        folded = observer.core.facts.children.of(execution.root.key).collapsed
        sleeps = sum(a.name == "sleep" and a.exit is not None for a in case) + folded
        killed = sum(a.name == "sleep" and a.exit is not None and a.end.signal == 9 for a in case)
    return Outcome(
        execution=execution,
        report=report,
        sleeps=sleeps,
        killed=killed,
        losses=dict(observer.core.missing.losses),
        ledger=observer.source.ledger(),
        flooder=investigate(observer.core.case(flooder, now)) if flooder is not None else None,
    )


def attack(
    kind: str, *, watched: bool = False, titles: int = 0, config: SourceConfig | None = None
) -> Outcome:
    """The victim's task, with `titles` renames before each of its children, while the flood goes
    on. Without a kind: in peace."""
    return asyncio.run(_attack(kind, watched, titles, config or SourceConfig()))


async def _attack(kind: str, watched: bool, titles: int, config: SourceConfig) -> Outcome:
    observer = Observer(config, CoreOptions(), None)
    seen: list[Execution] = []
    floods: list[Execution] = []

    def opened(execution: Execution) -> None:
        if execution.identity.run_id == TASK["AIRFLOW_CTX_DAG_RUN_ID"]:
            seen.append(execution)
        elif execution.identity.run_id == OWN["AIRFLOW_CTX_DAG_RUN_ID"]:
            floods.append(execution)

    observer.core.listeners.add(Calls(execution_started=opened))
    observer.start()
    running = asyncio.create_task(observer.run())
    try:
        with flood(kind, watched=watched) if kind else nullcontext():
            command = as_user(VICTIM, _TASK, str(titles))
            victim = await asyncio.create_subprocess_exec(
                *command, env={"PATH": os.environ["PATH"], **TASK}, cwd="/"
            )
            assert await victim.wait() == 3
    finally:
        observer.stop.set()
        await running
        observer.end()
        found = _outcome(observer, seen[0] if seen else None, floods[0] if floods else None)
        await observer.close(0)
    return found
