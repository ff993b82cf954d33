"""What watching costs the watched: storms beside themselves without us, under empty programs on the
same hooks (the floor that this kernel sets), under kwitness outside and inside a binding,
and under the same hooks written in bpftrace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from receiver.kernel.bpf_object import Object
from receiver.kernel.libbpf import Library

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BINDING = {
    "AIRFLOW_CTX_DAG_ID": "bench",
    "AIRFLOW_CTX_TASK_ID": "storm",
    "AIRFLOW_CTX_DAG_RUN_ID": "r",
}
HOOKS = (
    "sys_exit",
    "sched_process_fork",
    "sched_process_exec",
    "sched_process_exit",
    "task_rename",
    "signal_generate",
    "signal_deliver",
    "inet_sock_set_state",
    "tcp_receive_reset",
    "tcp_send_reset",
    "posix_lock_inode",
    "flock_lock_inode",
)


def storms(place: Path) -> dict[str, list[str]]:
    return {
        "a fork + exec": ["exec", "100"],
        "b file metadata": ["meta", "6000", str(place)],
        "c sequential, 64 KiB": ["blocks", "600", str(place / "seq"), "65536"],
        "c small blocks, 512 B": ["blocks", "40000", str(place / "small"), "512"],
        "d loopback requests": ["requests", "4000"],
    }


@contextmanager
def floor() -> Iterator[None]:
    target = Path(tempfile.gettempdir()) / f"kwitness-empty-{os.getpid()}.o"
    include = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    subprocess.run(
        [
            "clang",
            "-g",
            "-O2",
            "-target",
            "bpf",
            "-mcpu=v3",
            include,
            "-c",
            str(HERE / "empty.bpf.c"),
            "-o",
            target,
        ],
        check=True,
    )
    programs = Object(Library(), target)
    programs.load()
    for hook in HOOKS:
        programs.attach(f"on_{hook}")
    try:
        yield
    finally:
        programs.close()
        target.unlink()


class Watcher:
    """The whole service in a process of its own; `cost` is what it said of itself at its end."""

    def __init__(self) -> None:
        self.cost: dict[str, float] = {}

    @contextmanager
    def attached(self, follow: str) -> Iterator[None]:
        """`follow`: "calls" keeps the hook for system calls attached, "idle" leaves it detached."""
        child = subprocess.Popen(
            ["taskset", "-c", "0", sys.executable, "-m", "tests.bench.watcher", follow],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "up\n"
        try:
            yield
        finally:
            out, _ = child.communicate("")
            for name, value in json.loads(out.splitlines()[-1]).items():
                self.cost[name] = self.cost.get(name, 0.0) + value


@contextmanager
def bpftrace() -> Iterator[None]:
    tracefs = Path("/sys/kernel/tracing")
    if not (tracefs / "events").exists():
        subprocess.run(["mount", "-t", "tracefs", "tracefs", tracefs], check=True)
    child = subprocess.Popen(
        ["bpftrace", str(HERE / "peer.bt")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert child.stdout is not None
    for line in child.stdout:
        if line == "up\n":
            break
    reader = subprocess.Popen(["cat"], stdin=child.stdout, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        child.terminate()
        child.wait()
        child.stdout.close()
        reader.wait()


def run(storm: Path, arguments: list[str], bound: bool) -> int:
    """`bound`: its environment names a task, so a service that is there follows it."""
    env = {"PATH": os.environ["PATH"]} | (BINDING if bound else {})
    # on a core of its own: where the scheduler puts two ends of a connection decides more
    # than any hook
    done = subprocess.run(
        ["taskset", "-c", "1", str(storm), *arguments],
        check=True,
        capture_output=True,
        text=True,
        env=env,
    )
    return int(done.stdout.split()[-1])


def overhead(binary: Path, rounds: int = 4, repeats: int = 10) -> dict[str, float]:
    """The fastest of many short storms under each condition, over the fastest without: on a machine
    whose speed changes by itself only the fastest runs are comparable.
    "nothing twice" says how far that can be trusted."""
    idle, inside = Watcher(), Watcher()
    conditions: dict[str, Callable[[], AbstractContextManager[None]]] = {
        "nothing": nullcontext,
        "nothing twice": nullcontext,
        "idle": lambda: idle.attached("idle"),
        "floor": floor,
        "inside": lambda: inside.attached("calls"),
    }
    if shutil.which("bpftrace"):
        conditions["bpftrace"] = bpftrace
    times: dict[tuple[str, str], list[int]] = {}
    with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
        storm = Path(place) / "storm"  # by this name bpftrace knows it
        shutil.copy(binary, storm)
        kinds = storms(Path(place))
        for _ in range(rounds):
            for condition, make in conditions.items():
                with make():
                    for kind, arguments in list(kinds.items()) * repeats:
                        times.setdefault((kind, condition), []).append(
                            run(storm, arguments, condition != "idle")
                        )
    out = {
        f"{kind} | {condition}": min(found) / min(times[(kind, "nothing")])
        for (kind, condition), found in times.items()
        if condition != "nothing"
    }
    for kind in kinds:
        out[f"{kind} | inside / floor"] = out[f"{kind} | inside"] / out[f"{kind} | floor"]
    out["inside: lost"] = inside.cost["lost"]
    out["inside: our CPU seconds"] = inside.cost["cpu_seconds"] / rounds
    out["inside: events"] = inside.cost["events"] / rounds
    out["idle: our CPU seconds"] = idle.cost["cpu_seconds"] / rounds
    return out
