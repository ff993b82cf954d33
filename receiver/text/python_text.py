"""The frames of a Python interpreter in words, and which of them is the user's own."""

from __future__ import annotations

import re

import msgspec

from receiver.events import PythonFlag, PythonStack
from receiver.text.names import signal_name
from receiver.text.printable import printable

# What somebody else wrote: installed packages, the standard library (also in a zip file), and what
# is compiled into the interpreter. A module that is frozen as the program is the user's.
_INSTALLED = re.compile(
    r"(?:^|[/\\])(?:site|dist)-packages[/\\]"
    r"|/lib(?:64)?/(?:python|pypy)3?\.?\d+(?:\.\d+)?t?/"
    r"|/python3\d*\.zip/"
    r"|^<frozen (?!__main__>)"
)
_CALLERS = 2


class PythonFrame(msgspec.Struct, frozen=True):
    """`line` is 0 when it is not known."""

    function: str
    file: str
    line: int

    @property
    def installed(self) -> bool:
        """It is not the user's own code."""
        return _INSTALLED.search(self.file) is not None

    @property
    def place(self) -> str:
        """`load_partition (etl.py:42)`."""
        name = self.file.rpartition("/")[2] or self.file
        return printable(f"{self.function} ({name}:{self.line or '?'})")


def frames(stack: PythonStack) -> tuple[PythonFrame, ...]:
    """Innermost first."""
    texts = stack.frames
    return tuple(
        PythonFrame(
            texts[at], texts[at + 1], int(texts[at + 2]) if texts[at + 2].isdecimal() else 0
        )
        for at in range(0, len(texts) - 2, 3)
    )


def leading(stack: PythonStack) -> PythonFrame | None:
    """The innermost frame of the user's own code; of none, the innermost one."""
    found = frames(stack)
    return next((f for f in found if not f.installed), found[0] if found else None)


def where(stack: PythonStack) -> str:
    """`load_partition (etl.py:42), called from run_day (etl.py:61)`; empty without a frame."""
    found = frames(stack)
    own = [f for f in found if not f.installed] or list(found)
    callers = "".join(f", called from {f.place}" for f in own[1:_CALLERS])
    return f"{own[0].place}{callers}" if own else ""


def standing(stack: PythonStack | None, who: str = "") -> str:
    """A sentence; empty when no frame is known. Without `who`, a sentence that follows one.

    Of several threads that did not run Python code, the main thread speaks.
    """
    place = where(stack) if stack is not None else ""
    if stack is None or not place:
        return ""
    plain = PythonFlag.HOLDS_LOCK | PythonFlag.TOOK_SIGNAL | PythonFlag.ALONE
    if stack.python_flags & plain:
        return f"{who or 'It'} was in {place}."
    thread = "main thread" if stack.python_flags & PythonFlag.MAIN_THREAD else "thread"
    whose = f"The {thread} of {who}" if who else f"Its {thread}"
    return f"{whose} was in {place}."


def traceback(stack: PythonStack) -> str:
    """As Python prints one: the innermost frame is the last."""
    found = [
        f'  File "{printable(f.file)}", line {f.line or "?"}, in {printable(f.function)}'
        for f in reversed(frames(stack))
    ]
    cut = ["  [earlier frames were not read]"] if stack.python_flags & PythonFlag.CUT else []
    return "\n".join(["Traceback (most recent call last):", *cut, *found])


def of_process(stacks: tuple[PythonStack, ...]) -> PythonStack | None:
    """Of several threads, the one that says most: it took the signal that its own fault raised,
    it ran Python code, it is the main thread.
    """
    flags = (PythonFlag.TOOK_SIGNAL, PythonFlag.HOLDS_LOCK, PythonFlag.MAIN_THREAD)
    told = [s for s in stacks if s.frames]
    for flag in flags:
        found = [s for s in told if s.python_flags & flag]
        if found:
            return found[0]
    return told[0] if told else None


def python_stack_line(event: PythonStack) -> str:
    who = f"{event.process.tgid} thread {event.thread}"
    place = where(event) or "no readable frame"
    return f"python  {who} was in {place} at {signal_name(event.signal)}"
