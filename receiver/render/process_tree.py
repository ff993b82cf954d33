"""The process tree of a run, with the activity of each process, and the findings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import msgspec
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from receiver.events import ProcessKey
from receiver.model import Finding
from receiver.render import PLAIN_WIDTH
from receiver.render.live import work_label
from receiver.render.rows import Row, RunView
from receiver.render.sheet import (
    BOLD,
    DIM,
    GREEN,
    INDENT,
    RED,
    YELLOW,
    Sheet,
    cut,
    evidence,
    indented,
    padded,
    plain,
    shortened,
    steady,
)
from receiver.text.names import counted, mib
from receiver.work.execution import Execution

DULL_SECONDS = 0.05
_GAP = 2
_LEAST_LABEL = 34  # cells for the process; below that, columns are left out
_MOST_LABEL = 100
_FOLDERS = re.compile(r"(?<!\S)/\S*/(?=[^\s/])")  # of an absolute path among the arguments
_DEEPEST = 0.6  # share of the label's cells that lines of the tree may take


class _Column(msgspec.Struct, frozen=True, kw_only=True):
    """A column beside the process. When the line is too narrow, the highest `rank` goes first."""

    name: str
    of: Callable[[Row], str]
    rank: int
    left: bool = False


_COLUMNS = (
    _Column(name="time", of=lambda r: f"{r.seconds:.2f}s", rank=0),
    _Column(name="end", of=lambda r: r.end, rank=0, left=True),
    _Column(name="cpu", of=lambda r: f"{r.cpu_seconds:.2f}s", rank=2),
    _Column(name="peak", of=lambda r: mib(r.peak_bytes), rank=1),
    _Column(name="read", of=lambda r: mib(r.read_bytes), rank=3),
    _Column(name="written", of=lambda r: mib(r.written_bytes), rank=3),
)


def summary(
    execution: Execution,
    view: RunView,
    losses: dict[tuple[str, str], int],
    blind: Iterable[str] = (),
    *,
    width: int = PLAIN_WIDTH,
    colour: bool = False,
) -> str:
    """The tree, the findings, and the limits of the observation."""
    sheet = Sheet(width, colour=colour)
    sheet.blank()
    sheet.add(_head(execution))
    sheet.blank()
    if execution.root.key in view.rows:
        _Drawing(sheet, view, execution.root.key).draw()
    if view.left_out:
        sheet.add(indented(Text(f"… and {view.left_out} more processes with exit status 0")))
    sheet.blank()
    _findings(sheet, execution)
    for (kind, reason), count in losses.items():
        sheet.add(indented(plain(f"lost: {count} {kind} events ({reason})", YELLOW)))
    for what in blind:
        sheet.add(indented(plain(f"not visible here: {what}", YELLOW)))
    return sheet.text()


def _head(execution: Execution) -> Text:
    head = f"{execution.identity.task}: {execution.result}"
    if execution.masked and not execution.root_failed:
        head += " (it reported success)"
    style = f"{BOLD} {GREEN if execution.result == 'success' else RED}"
    seconds = (execution.end_ns - execution.start_ns) / 1e9
    processes = execution.totals.processes
    return Text.assemble(
        (f"kwitness  {steady(head)}", style),
        f"  {seconds:.2f} s, {counted(processes, 'process', 'processes')}, "
        f"{execution.totals.cpu_ns / 1e9:.2f} s of CPU",
    )


class _Drawing:
    """One tree: which rows are shown, and how wide its columns are."""

    def __init__(self, sheet: Sheet, view: RunView, root: ProcessKey) -> None:
        self._sheet, self._view, self._root = sheet, view, root
        self._children: dict[ProcessKey, list[Row]] = {}
        for row in sorted(view.rows.values(), key=lambda r: r.started):
            if row.key != root:
                parent = row.parent if row.parent in view.rows else root
                assert parent is not None
                self._children.setdefault(parent, []).append(row)
        self._collapsed = self._short_ones()
        self._columns = self._fitting_columns()
        taken = INDENT + sum(w + _GAP for _, w in self._columns)
        self._label = min(_MOST_LABEL, sheet.width - taken)

    def draw(self) -> None:
        titles = "".join(" " * _GAP + _aligned(c, c.name, w) for c, w in self._columns)
        self._line(Text(padded("process", self._label) + titles, DIM))
        self._walk()

    def _short_ones(self) -> dict[ProcessKey, int]:
        """The subtrees of short processes without notable facts, each with its size.

        Children come before their parents, so that no recursion is needed.
        """
        order = [self._root]
        for key in order:
            order += [row.key for row in self._children.get(key, ())]
        sizes: dict[ProcessKey, int] = {}
        for key in reversed(order[1:]):
            below = [row.key for row in self._children.get(key, ())]
            if self._is_minor(self._view.rows[key]) and all(k in sizes for k in below):
                sizes[key] = 1 + sum(sizes[k] for k in below)
        return sizes

    def _is_minor(self, row: Row) -> bool:
        return (
            row.seconds < DULL_SECONDS
            and row.key not in self._view.work
            and not row.findings
            and "SIG" not in row.end
            and not row.details.lines()
        )

    def _fitting_columns(self) -> list[tuple[_Column, int]]:
        """The columns that leave room for the process, with their widths."""
        shown = [r for k, r in self._view.rows.items() if k not in self._collapsed]
        widths = [
            (c, max(len(c.name), *(cell_len(c.of(r)) for r in shown)) if shown else len(c.name))
            for c in _COLUMNS
        ]
        while True:
            room = self._sheet.width - INDENT - sum(w + _GAP for _, w in widths)
            last = max(c.rank for c, _ in widths)
            if room >= _LEAST_LABEL or not last:
                return widths
            widths = [(c, w) for c, w in widths if c.rank < last]

    def _walk(self) -> None:
        """Depth first, without recursion: the depth of a tree of processes has no bound."""
        rows = self._view.rows
        stack = [(rows[self._root], "", "")]
        while stack:
            row, prefix, branch = stack.pop()
            every = self._children.get(row.key, [])
            below = [child for child in every if child.key not in self._collapsed]
            short = sum(self._collapsed.get(child.key, 0) for child in every)
            self._row(row, prefix, branch, short=short)
            deeper = prefix + ("" if not branch else "   " if branch.startswith("└") else "│  ")
            self._details(row, deeper + ("│  " if below else "   "))
            if cell_len(deeper) > self._label * _DEEPEST:
                deeper = prefix  # deeper processes share this depth
            last = len(below) - 1
            for number, child in reversed(list(enumerate(below))):
                stack.append((child, deeper, "└─ " if number == last else "├─ "))

    def _row(self, row: Row, prefix: str, branch: str, *, short: int) -> None:
        for work in self._bound(row, steps=False):
            self._whole(f"{prefix}{branch and '│ '}", f"◆ {work_line(work)}", BOLD)
        more = f" (+{short} short)" if short else ""
        room = self._label - len(more)
        label = prefix + branch + steady(row.command)
        if cell_len(label) > room:
            label = prefix + branch + _FOLDERS.sub("…/", steady(row.command))
        label = cut(label, room) + more
        numbers = "".join(" " * _GAP + _aligned(c, c.of(row), w) for c, w in self._columns)
        self._line(Text(padded(label, self._label) + numbers, RED if row.failed else ""))

    def _details(self, row: Row, margin: str) -> None:
        for work in self._bound(row, steps=True):
            self._whole(margin, f"◆ {work_line(work)}", "")
        for line in row.details.lines():
            self._whole(margin, line, DIM)

    def _bound(self, row: Row, *, steps: bool) -> list[Execution]:
        works = (w for w in self._view.work.get(row.key, ()) if w.is_step is steps)
        return sorted(works, key=lambda w: w.start_ns)

    def _whole(self, margin: str, text: str, style: str) -> None:
        """A line that uses the whole width."""
        room = self._sheet.width - INDENT - cell_len(margin)
        self._line(Text.assemble(margin, (shortened(steady(text), room), style)))

    def _line(self, text: Text) -> None:
        self._sheet.add(indented(text))


def _aligned(column: _Column, text: str, width: int) -> str:
    return text.ljust(width) if column.left else text.rjust(width)


def work_line(work: Execution) -> str:
    """One finished piece of work, for people."""
    result = "" if work.result == "success" else f", {work.result}"
    doubt = "" if work.identity.grade in ("certain", "probable") else f", {work.identity.grade}"
    seconds = max(0, work.end_ns - work.start_ns) / 1e9
    outputs = "".join(f" > {v.path}" for v in work.outputs[:2]) if work.is_step else ""
    most = "at most " if work.end_is_bound else ""
    return f"{work_label(work)} ({most}{seconds:.2f} s{result}{doubt}){outputs}"


def _findings(sheet: Sheet, execution: Execution) -> None:
    if not execution.findings:
        sheet.add(indented(Text("no findings")))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for found in execution.findings:
        at = (found.time_boottime_ns - execution.start_ns) / 1e9
        grid.add_row(Text.assemble(("✗", RED), f" {at:7.2f}s"), _finding(found))
    if execution.findings:
        sheet.add(indented(grid))
    if execution.findings_dropped:
        sheet.add(indented(Text(f"… and {execution.findings_dropped} more findings")))


def _finding(found: Finding) -> Text:
    return Text.assemble((found.kind, BOLD), "  ", evidence(found.sentence, found.evidence))
