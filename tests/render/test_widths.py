"""No line of what is printed is wider than the terminal, and colour carries no fact alone.

Every name can be chosen by the user who runs a pipeline: wide, combining, empty, endless, or made
of control characters.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import string
import struct
import subprocess
import sys
import termios
import unicodedata
from functools import cache

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from wcwidth import wcswidth

from receiver.investigate.report import Report
from receiver.render.listing import incidents_table
from receiver.render.process_tree import summary
from receiver.render.rows import RunView, Views
from receiver.render.sheet import NARROWEST, cut, folded, padded, shortened, steady
from receiver.render.terminal import details, screen
from receiver.work.execution import Execution
from tests.builders import Calls, Story
from tests.scenarios.test_screens import RECORDED, replayed

OUT = os.O_WRONLY | os.O_CREAT
SGR = re.compile(r"\x1b\[[0-9;]*m")
PIECES = (
    *("数据", "한국", "ﾊﾝｶｸ", "ａｂ", "é", "e\u0301\u0323", "\u0301", "ก็", "नमस्ते"),
    *("🚀", "👍🏽", "👨\u200d👩\u200d👧", "🇩🇪", "❤\ufe0f", "1\ufe0f\u20e3", "\ufe0f", "\u00ad"),
    *("\x1b[2J", "\x1b]0;x\x07", "\r", "\n", "\t", "\x00", "\x9b", "\u202e", "\u2028", "\u3000"),
    *(" ", "  ", "/", "[red]", "[/]", ":smile:", "\\", "{", "<b>", "a" * 300, "字" * 200, "\ud7ff"),
)
NAMES = st.lists(
    st.sampled_from(PIECES)
    | st.text(string.ascii_letters + "/-_.", max_size=12)
    | st.text(st.characters(codec="utf-8"), max_size=3),
    max_size=8,
).map("".join)
WIDTHS = st.sampled_from((40, 79, 80, 100, 130, 200)) | st.integers(NARROWEST, 250)


def check(text: str, width: int) -> None:
    for line in text.splitlines():
        assert not any(unicodedata.category(c) == "Cc" for c in line), line
        assert wcswidth(line) <= width and cell_len(line) <= width, line


def run_of(names: list[str], depth: int) -> tuple[Execution, RunView]:
    """A tree of processes whose arguments, files and task have these names."""
    story = Story()
    views = Views(story.core.facts)
    story.core.listeners.add(
        Calls(process_ended=views.process_ended, execution_finished=views.closed)
    )
    root = story.command("bash", *names, name=names[0] or "job")
    line = [root]
    for number in range(depth):
        line.append(story.spawn(line[-1], "python3", *names[number % len(names) :]))
    for number, key in enumerate(reversed(line)):
        name = names[number % len(names)].replace("\0", "") or "x"
        story.writes(key, f"/data/{name}", inode=10 + number, size=5 + number)
        story.open_file(key, f"/data/{name}", inode=10 + number)
        story.exit(key, *(() if number % 2 else (1,)), after_ms=90)
    story.finish()
    (execution,) = [e for e in story.core.executions._ended.values() if e.outer is None]
    return execution, views.pop(execution)


@settings(deadline=None, max_examples=60)
@given(st.lists(NAMES, min_size=1, max_size=4), st.integers(0, 40), WIDTHS)
def test_no_line_of_a_tree_is_wider_than_the_terminal(
    names: list[str], depth: int, width: int
) -> None:
    execution, view = run_of(names, depth)
    losses = {("fork", names[0]): 3}
    text = summary(execution, view, losses, names, width=width)
    check(text, width)
    coloured = summary(execution, view, losses, names, width=width, colour=True)
    assert SGR.sub("", coloured).split() == text.split()
    assert text.count("python3") >= depth  # no process is left out, however deep


@cache
def recorded(name: str) -> Report:
    return replayed(name)[0]


def renamed(value: object, names: list[str]) -> object:
    """Adds the names, in turn, to each text whose values are not fixed."""
    if isinstance(value, str):
        if value in FIXED:
            return value
        names.append(names.pop(0))
        return value + names[0]
    if isinstance(value, list):
        return [renamed(v, names) for v in value]
    if isinstance(value, dict):
        return {k: renamed(v, names) for k, v in value.items()}
    return value


# Fields with a fixed choice of values.
FIXED = {
    *("incident", "healthy", "not_visible", "incomplete", "supports", "contradicts", "missing"),
    *("context", "process", "cgroup", "file", "endpoint", "task", "host", "unknown", "subject"),
}


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(RECORDED),
    st.lists(NAMES, min_size=1, max_size=4),
    WIDTHS,
    st.sampled_from(("incident", "healthy", "not_visible", "incomplete")),
)
def test_no_line_of_a_report_is_wider_than_the_terminal(
    name: str, names: list[str], width: int, verdict: str
) -> None:
    built = msgspec.to_builtins(recorded(name)) | {"verdict": verdict}
    report = msgspec.convert({k: renamed(v, names) for k, v in built.items()}, Report)
    for form in (screen, details):
        text = form(report, width=width)
        check(text, width)
        coloured = form(report, width=width, colour=True)
        assert SGR.sub("", coloured).split() == text.split()


@given(NAMES.map(str.strip), st.integers(1, 80))
def test_a_text_is_cut_at_its_end_or_in_its_middle(text: str, width: int) -> None:
    for short in (cut(text, width), shortened(text, width)):
        assert cell_len(short) <= width
        assert short == text if cell_len(text) <= width else "…" in short
    assert cell_len(padded(text, width)) == width


def test_a_path_keeps_its_end() -> None:
    assert shortened("/data/warehouse/orders/part-00017.parquet (5 B)", 30).endswith(
        "017.parquet (5 B)"
    )


def test_columns_are_left_out_before_the_process_is() -> None:
    execution, view = run_of(["load.py"], 1)
    titles = {
        width: next(line for line in lines if line.startswith("  process ")).split()
        for width in (NARROWEST, 80, 130)
        if (lines := summary(execution, view, {}, width=width).splitlines())
    }
    assert titles == {
        NARROWEST: ["process", "time", "end"],
        80: ["process", "time", "end", "cpu", "peak"],
        130: ["process", "time", "end", "cpu", "peak", "read", "written"],
    }


@settings(deadline=None, max_examples=30)
@given(st.lists(NAMES, min_size=4, max_size=4), WIDTHS)
def test_no_line_of_the_list_of_incidents_is_wider_than_the_terminal(
    names: list[str], width: int
) -> None:
    row = dict(zip(("id", "cause", "task", "summary"), names, strict=True))
    rows = [{**row, "verdict": "incident", "ended": when} for when in ("", "2026-01-02T03:04:05.6")]
    text = incidents_table(rows, width)
    check(text, width)
    assert "running" in text and "2026-01-02" in text


@given(NAMES, st.integers(0, 12), WIDTHS)
def test_a_long_line_continues_below_and_keeps_every_character(
    text: str, indent: int, width: int
) -> None:
    line = " " * indent + text
    found = folded(line, width)
    check(found, width)
    assert "".join(found.split()) == "".join(steady(line).split())
    if cell_len(steady(line)) <= width:
        assert found == steady(line)


def test_a_line_is_folded_at_a_space_and_indented() -> None:
    line = "  one two three four five six seven eight nine"
    assert folded(line, 40) == "  one two three four five six seven\n      eight nine"
    assert folded("x" * 90, 40).splitlines() == ["x" * 40, "    " + "x" * 36, "    " + "x" * 14]


@pytest.mark.parametrize("width", [80, 100, 130, 200])
@pytest.mark.parametrize(
    "command",
    [
        ("replay", "--dump", "tests/scenarios/lineage.kw"),
        ("replay", "--details", "tests/scenarios/demo.kw"),
        ("check", "--explain", "tests/scenarios/frameworks/dbt.kw"),
    ],
)
def test_a_terminal_has_nothing_to_wrap(command: tuple[str, ...], width: int) -> None:
    """On a terminal as wide as that, from the first line to the last."""
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("4H", 50, width, 0, 0))
    keep = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    child = subprocess.Popen(
        (sys.executable, "-m", "receiver", *command), stdout=side, stderr=side, env=keep
    )
    os.close(side)
    seen = b""
    with contextlib.suppress(OSError):  # the end
        while part := os.read(main, 65_536):
            seen += part
    os.close(main)
    assert child.wait() == 0
    lines = SGR.sub("", seen.decode()).replace("\r\n", "\n")
    check(lines, width)
    assert lines.count("\n") > 5
