"""What people read of two recorded incidents, as text: the report, its details, the page,
the tree of processes.

After a wanted change: KWITNESS_UPDATE_GOLDENS=1 make test-unit, then read the diff.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from wcwidth import wcswidth

from receiver.investigate.report import Report
from receiver.model import CoreOptions
from receiver.observe.core import Core
from receiver.observe.recording import Recording
from receiver.observe.replay import replay
from receiver.observe.session import Session
from receiver.render.page import page
from receiver.render.process_tree import summary
from receiver.render.rows import Views
from receiver.render.terminal import details, screen, sparkline
from tests.builders import Calls

HERE = Path(__file__).parent
SCREENS = HERE / "screens"
WIDTHS = (80, 100, 130, 200)  # columns
# A torn file with its sender and its reader; and memory that stays at its limit.
RECORDED = ("a_torn_file_is_read-0", "pages_are_read_again_and_again-0")


def replayed(name: str) -> tuple[Report, Callable[[int], str]]:
    """The report, and the tree at a width."""
    recording = Recording(HERE / "incidents" / f"{name}.kw")
    core = Core(recording.header.host, CoreOptions(only_commands=True))
    views = Views(core.facts)
    core.listeners.add(Calls(process_ended=views.process_ended, execution_finished=views.closed))
    replay(Session(core), recording)
    report = list(core.incidents.reports.values())[-1]
    (execution,) = [e for e in core.executions._ended.values() if e.outer is None]
    view = views.pop(execution)
    return report, lambda width: summary(execution, view, {}, ["TLS (why)"], width=width) + "\n"


@pytest.mark.parametrize("name", RECORDED)
def test_people_read_what_they_read_before(name: str) -> None:
    report, tree = replayed(name)
    shown = {"page.html": page(report)}
    for width in WIDTHS:
        shown[f"report.{width}.txt"] = screen(report, width=width) + "\n"
        shown[f"details.{width}.txt"] = details(report, width=width) + "\n"
        shown[f"tree.{width}.txt"] = tree(width)
    for kind, text in shown.items():
        golden = SCREENS / f"{name}.{kind}"
        if os.environ.get("KWITNESS_UPDATE_GOLDENS"):
            golden.parent.mkdir(exist_ok=True)
            golden.write_text(text)
        assert text.splitlines() == golden.read_text().splitlines(), kind
        if kind.endswith(".txt"):
            width = int(kind.split(".")[1])
            assert all(wcswidth(line) <= width for line in text.splitlines()), kind


def test_the_mark_of_a_fact_stands_where_it_happened() -> None:
    """The axis begins with the run and ends with it: what came later stands further
    to the right."""
    report, _ = replayed(RECORDED[0])
    lines = screen(report).splitlines()
    marks = [
        (float(above.split("s")[0]), line.strip().index("●"))
        for above, line in pairwise(lines)
        if "●" in line and above.strip()[0].isdigit()
    ]
    assert len(marks) >= 3 and marks == sorted(marks)
    assert marks[-1][1] > marks[0][1]


def test_a_curve_of_memory_rises_with_its_values() -> None:
    assert sparkline([(0.0, 0), (1.0, 50), (2.0, 100)], 100) == "▁▅█"


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.policy: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        known = dict(attrs)
        if known.get("http-equiv") == "Content-Security-Policy":
            self.policy.append(known.get("content"))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


EVIL = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></style><h1>",
    "{{ 7 * 7 }}{% raw %}{# x",
    "&lt;b&gt; &amp;",
)
UNSAFE = "\x1b[31m\u202e\u200b\x00"


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("name", RECORDED)
def test_no_text_of_a_report_becomes_markup(name: str, evil: str) -> None:
    """Every string of the report could be chosen by who runs a pipeline:
    names, arguments, paths."""
    report, _ = replayed(name)

    def spoiled(value: object) -> object:
        if isinstance(value, str):
            return value if value in _WORDS else value + evil + UNSAFE
        if isinstance(value, list):
            return [spoiled(v) for v in value]
        return {k: spoiled(v) for k, v in value.items()} if isinstance(value, dict) else value

    built = msgspec.to_builtins(report)
    bad = msgspec.convert({k: spoiled(v) for k, v in built.items()}, Report)
    before, after = _Tags(), _Tags()
    before.feed(page(report))
    after.feed(page(bad))
    assert after.tags == before.tags
    shown = "".join(after.text)
    assert evil in shown and "\\x1b[31m\\u{202e}\\u{200b}\\x00" in shown
    assert not any(c in page(bad) for c in UNSAFE if not c.isprintable())


def test_a_page_loads_nothing_and_runs_nothing() -> None:
    tags = _Tags()
    tags.feed(page(replayed(RECORDED[0])[0]))
    assert not {"script", "link", "img", "iframe", "object", "a"} & set(tags.tags)
    assert tags.policy == ["default-src 'none'; style-src 'unsafe-inline'"]


# Fields with a fixed choice of values.
_WORDS = {
    "incident",
    "degraded",
    "healthy",
    "not_visible",
    "incomplete",
    "supports",
    "contradicts",
    "missing",
    "context",
    "process",
    "cgroup",
    "file",
    "endpoint",
    "task",
    "host",
    "unknown",
}
