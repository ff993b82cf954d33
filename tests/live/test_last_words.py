"""The Python frames of processes that a signal ends, with each CPython that is installed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.constants import PYTHON_FRAMES
from receiver.events import PythonFlag, PythonStack
from receiver.kernel.python_layouts import LAYOUTS
from receiver.text import python_text
from tests.live.conftest import Watched, Witness
from tests.live.deaths import finish, ready

pytestmark = pytest.mark.live
NEWEST = 13
INSTALLED = {
    os.path.realpath(path)
    for minor in range(8, NEWEST + 1)
    for path in Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python3")
}
SYSTEM = {os.path.realpath(path) for path in (sys.executable, "/usr/bin/python3")}
EACH = pytest.mark.parametrize("interpreter", sorted(INSTALLED | SYSTEM))

# Each program ends in `die`, which prints what the interpreter itself says of its frames.
DIE = """
import os, sys, traceback, json
def die(number=9):
    stack = traceback.extract_stack()
    print(json.dumps([[f.filename, f.lineno, f.name] for f in stack]), flush=True)
    os.kill(os.getpid(), number)  # HERE
"""
PROGRAMS = {
    "module": "die()",
    "call over several lines": (
        "def load(a, b):\n    die()\nload(\n    1,\n    b=[\n        2,\n    ],\n)"
    ),
    "method": (
        "class Loader:\n    def load(self):\n\n"
        "        return die()\nclass Run(Loader): pass\nRun().load()"
    ),
    "lambda": "f = lambda: (\n    die())\n(\n f\n)()",
    "comprehension": "x = [\n    die()\n    for _ in range(3)\n]",
    "nested": (
        "def outer():\n    n = 3\n    def inner():\n        return n, die()\n    inner()\nouter()"
    ),
    "generator": "def rows():\n    yield 1\n    die()\n    yield 2\nfor row in rows():\n    pass",
    "with and finally": (
        "class C:\n    def __enter__(self): return self\n"
        "    def __exit__(self, *a):\n        die()\n"
        "try:\n    with C() as c:\n        x = 1 / 0\nfinally:\n    x = 2"
    ),
    "decorator": (
        "def wrap(f):\n    def g(*a):\n        return f(*a)\n    return g\n"
        "@wrap\ndef f():\n    die()\nf()"
    ),
    "class body": "class Table:\n    a = 1\n    b = die()",
    "called by C": "sorted([3, 1], key=lambda x: die())",
    "import hook": "exec(compile('\\n\\ndie()', 'made up.py', 'exec'))",
    "long function": "def f(x=0):\n" + "    x += 1\n" * 700 + "    die()\n    x += 2\nf()",
    "long lines": "def f(x=0):\n"
    + "    x += (x.real + x.imag) * 2 - x.real\n" * 60
    + "    die()\nf()",
    "backwards": (
        "def f():\n    for i in range(2):\n        if i:\n            die()\n"
        "\n\n        i += 1\nf()"
    ),
    "other letters": "class Größe:\n    def größe_ж(self):\n        die()\nGröße().größe_ж()",
    "asyncio": (
        "import asyncio\nasync def inner():\n    await asyncio.sleep(0)\n    die()\n"
        "async def outer():\n    await inner()\nasyncio.run(outer())"
    ),
    "thread": (
        "import threading\ndef work():\n    die()\n"
        "t = threading.Thread(target=work)\nt.start()\nt.join()"
    ),
    "many threads": (
        "import threading, time\ndef work(n):\n    if n == 20: die()\n    time.sleep(60)\n"
        "ts = [threading.Thread(target=work, args=(n,)) for n in range(21)]\n"
        "for t in ts: t.start()\nfor t in ts: t.join()"
    ),
    "abort": "def f():\n    die(6)\nf()",
    "fault": "def f():\n    die(11)\nf()",
    "asked to end": "def f():\n    die(15)\nf()",
    "fork": "def f():\n    die()\nif os.fork() == 0:\n    f()\nelse:\n    os.wait()",
}
TOO_LONG = {"long function"}  # its line table: the line may be unknown
RECURSION = "def f(n):\n    if n == 0: die()\n    f(n - 1)\nf(100)"
SLEEP = (
    "import time\ndef rest():\n\n    print('ready', flush=True); time.sleep(60)  # HERE\nrest()\n"
)
GROW = """
def grow(kept):
    while True:
        kept.append(b"x" * (1 << 20))  # HERE

def run():
    print("ready", flush=True)
    input()
    grow([])

run()
"""
ORDINARY = """
import os, signal, threading, time
signal.signal(signal.SIGSEGV, lambda *_: None)
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
os.kill(os.getpid(), signal.SIGSEGV)
os._exit(3)
"""


def line_of(source: str) -> int:
    return next(n for n, line in enumerate(source.splitlines(), 1) if "# HERE" in line)


@pytest.fixture
def watched_first(watched: Watched, request: pytest.FixtureRequest) -> Watched:
    """The interpreter has been executed once, and its file was read."""
    interpreter = request.getfixturevalue("interpreter")
    if not os.path.exists(interpreter):
        pytest.skip(f"{interpreter} is not installed")
    with watched.witness.source.watching_self():
        subprocess.run([interpreter, "-c", ""], check=True)
    watched.witness.drain()
    return watched


def start(watched: Watched, *command: str, **options: object) -> subprocess.Popen[str]:
    with watched.witness.source.watching_self():
        options |= {"stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, **options)  # type: ignore[call-overload, no-any-return]


def told(witness: Witness, pid: int) -> PythonStack:
    """The stack that speaks for a process, which has a record for each of its threads."""
    stack = python_text.of_process(tuple(witness.of(pid, PythonStack)))
    assert stack is not None, f"no stack of {pid}"
    return stack


def named(stack: PythonStack) -> list[tuple[str, int, str]]:
    """File, line and name as traceback.extract_stack has them, outermost first."""
    found = python_text.frames(stack)
    return [(f.file, f.line, f.function.rpartition(".")[2]) for f in reversed(found)]


def _programs(watched: Watched, interpreter: str, folder: Path) -> list[object]:
    """The programs whose frames are not those that the interpreter printed."""
    wrong: list[object] = []
    for name, body in PROGRAMS.items():
        script = folder / f"{name}.py"
        script.write_text(DIE + body + "\n")
        child = start(watched, interpreter, "-S", "-I", str(script))
        said, _ = child.communicate()
        truth = [(file, line, function) for file, line, function in json.loads(said)]
        truth[-1] = (truth[-1][0], line_of(DIE), "die")
        processes = {child.pid, *watched.witness.descendants(child.pid)}
        stacks = [s for s in watched.witness.all(PythonStack) if s.process.tgid in processes]
        stack = python_text.of_process(tuple(stacks))
        got = named(stack) if stack is not None else []
        if name in TOO_LONG and len(got) == len(truth):
            got = [g if g[1] else t for g, t in zip(got, truth, strict=True)]
        if got != truth:
            wrong.append((name, got, truth))
    return wrong


def _recursion(watched: Watched, interpreter: str, folder: Path) -> None:
    """Of a deep recursion the innermost frames are kept."""
    script = folder / "deep.py"
    script.write_text(DIE + RECURSION + "\n")
    child = start(watched, interpreter, str(script))
    said, _ = child.communicate()
    stack = told(watched.witness, child.pid)
    got = named(stack)
    assert len(got) == PYTHON_FRAMES and stack.python_flags & PythonFlag.CUT
    assert got[:-1] == [tuple(f) for f in json.loads(said)][-PYTHON_FRAMES:-1]


def _ended(watched: Watched, interpreter: str, number: signal.Signals) -> None:
    child = start(watched, interpreter, "-c", SLEEP)
    ready(child)
    os.kill(child.pid, number)
    finish(child)
    stack = told(watched.witness, child.pid)
    assert (stack.signal, stack.thread) == (number, child.pid)
    assert named(stack) == [("<string>", 5, "<module>"), ("<string>", line_of(SLEEP), "rest")]
    assert not stack.python_flags & (PythonFlag.CUT | PythonFlag.DAMAGED | PythonFlag.RAW)


def _not_ended(watched: Watched, interpreter: str) -> None:
    """A handled signal, and an exit, which ends the other threads with SIGKILL, tell nothing."""
    child = start(watched, interpreter, "-c", ORDINARY)
    child.communicate()
    assert child.returncode == 3
    assert watched.witness.of(child.pid, PythonStack) == []


@EACH
def test_the_frames_are_those_that_the_interpreter_has(
    watched_first: Watched, interpreter: str, tmp_path: Path
) -> None:
    """In 23 programs, file, function and line of each frame; and at signals of another process."""
    assert _programs(watched_first, interpreter, tmp_path) == []
    _recursion(watched_first, interpreter, tmp_path)
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV):
        _ended(watched_first, interpreter, number)
    _not_ended(watched_first, interpreter)


@EACH
def test_a_process_that_the_oom_killer_chooses(
    watched_first: Watched, interpreter: str, memory_cgroup: Path, tmp_path: Path
) -> None:
    script = tmp_path / "etl.py"
    script.write_text(GROW)
    child = start(
        watched_first,
        interpreter,
        str(script),
        stdin=subprocess.PIPE,
        preexec_fn=lambda: (memory_cgroup / "cgroup.procs").write_text(str(os.getpid())),
    )
    ready(child)
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.close()
    finish(child)
    frame = python_text.leading(told(watched_first.witness, child.pid))
    assert frame is not None
    assert (frame.function, frame.file, frame.line) == ("grow", str(script), line_of(GROW))


FORGE = """
import ctypes, os, sys
previous, length = int(sys.argv[2]), int(sys.argv[3])
def write(address, value):
    ctypes.c_uint64.from_address(address).value = value
def forge():
    frame = ctypes.c_uint64.from_address(id(sys._getframe()) + 24).value  # PyFrameObject.f_frame
    if sys.argv[1] == "loop":
        write(frame + previous, frame)
    elif sys.argv[1] == "wild":
        write(frame + previous, 0xdead0000)
    else:
        write(id(forge.__code__.co_filename) + length, 1 << 60)
    os.kill(os.getpid(), 9)
forge()
"""


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="it forges the structures of 3.11")
@pytest.mark.parametrize(("how", "frames"), [("loop", PYTHON_FRAMES), ("wild", 1), ("length", 2)])
def test_forged_frames_give_a_bounded_record_that_says_so(
    watched: Watched, how: str, frames: int
) -> None:
    layout = LAYOUTS[0x030B]
    offsets = [str(layout["previous"]), str(layout["text_length"])]
    with watched.witness.source.watching_self():
        subprocess.run([sys.executable, "-c", ""], check=True)
    watched.witness.drain()
    child = start(watched, sys.executable, "-c", FORGE, how, *offsets)
    child.communicate()
    stack = watched.witness.one(child.pid, PythonStack)
    found = python_text.frames(stack)
    assert len(found) == frames and found[0].function == "forge"
    assert stack.python_flags & (PythonFlag.CUT | PythonFlag.DAMAGED)
    assert how != "length" or found[0].file == "?"
