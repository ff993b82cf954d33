"""One plain HTML page for a report, made with Jinja2.

It has no script and loads nothing. Jinja2 escapes every text. The template is read when this module
is imported, because a service cannot read files later.
"""

from __future__ import annotations

from importlib.resources import files

import msgspec
from jinja2 import Environment, StrictUndefined

from receiver.investigate.report import EXPLAINED, CurveLine, Moment, Report
from receiver.render.phrases import (
    ALSO,
    CAUSE,
    CRASH,
    CULPRIT,
    FIX,
    HISTORY,
    RULED_OUT,
    TIME,
    UNNOTICED,
    count_text,
    crash_text,
    culprit_text,
    lost_texts,
    outcome_text,
    time_text,
    unnoticed_text,
)
from receiver.text.names import mib
from receiver.text.printable import printable

_MOMENTS = 16
_CURVES = 6  # the template has as many colours
_AXIS_START, _AXIS_CELLS = 4, 120
_WIDTH, _HEIGHT, _HEADROOM = 600, 120, 12


def _safe(value: object) -> object:
    return printable(value) if isinstance(value, str) else value


def _environment() -> Environment:
    made = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_safe,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["mib"] = mib
    return made


_TEMPLATE = _environment().from_string(
    files("receiver.render").joinpath("templates/page.html.jinja").read_text("utf-8")
)


class _Mark(msgspec.Struct, frozen=True):
    """An event on the time axis."""

    at: float
    x: float
    text: str


class _Curve(msgspec.Struct, frozen=True):
    points: str  # of a polyline
    label: str


class _Chart(msgspec.Struct, frozen=True, kw_only=True):
    width: int
    height: int
    curves: tuple[_Curve, ...]
    limit: str  # empty without a limit
    limit_y: str
    first: str
    last: str


def page(report: Report) -> str:
    return _TEMPLATE.render(
        report=report,
        task=report.execution.task,
        verdict=report.verdict.replace("_", " "),
        labels={"ruled_out": RULED_OUT},
        count=count_text,
        facts=_facts(report),
        axis=_axis(report.timeline[:_MOMENTS]),
        chart=_chart(report.memory),
        single_samples=_single_samples(report.memory),
    )


def _facts(report: Report) -> list[tuple[str, str]]:
    """Labels and texts, in the order of the terminal's report."""
    execution = report.execution
    rows = [
        ("run", f"{execution.pipeline} {execution.run_id}"),
        ("outcome", outcome_text(report)),
        ("duration", f"{execution.seconds:.2f} s"),
    ]
    if report.verdict in EXPLAINED:
        lead = report.hypotheses[0]
        rows += [
            (CAUSE, f"{lead.cause} ({lead.confidence:.0%} sure)"),
            (CULPRIT, culprit_text(lead.culprit)),
            (FIX, lead.fix.text),
        ]
        if unnoticed := unnoticed_text(report):
            rows.append((UNNOTICED, unnoticed))
        rows.append((HISTORY, report.answers.seen_before))
        rows += [(CRASH, crash_text(crash)) for crash in report.crashes[:2]]
        firsts = [other.hypotheses[0] for other in report.other_incidents]
        rows += [(ALSO, f"{first.cause}: {first.summary}") for first in firsts]
    if spent := time_text(report):
        rows.append((TIME, spent))
    rows += [("lost", text) for text in lost_texts(report)]
    return rows + [("not visible here", what) for what in report.completeness.blind]


def _axis(moments: tuple[Moment, ...]) -> list[_Mark]:
    if not moments:
        return []
    first = moments[0].at
    span = max(moments[-1].at - first, 0.001)
    return [_Mark(m.at, _AXIS_START + (m.at - first) / span * _AXIS_CELLS, m.text) for m in moments]


def _chart(curves: tuple[CurveLine, ...]) -> _Chart | None:
    """None when no process lived long enough for two samples."""
    shown = [c for c in curves if len(c.points) > 1][:_CURVES]
    if not shown:
        return None
    limit = max(c.limit_bytes for c in shown)
    top = max(limit, 1, *(v for c in shown for _, v in c.points))
    first, last = min(c.points[0][0] for c in shown), max(c.points[-1][0] for c in shown)
    span = max(last - first, 0.001)

    def y(held: int) -> str:
        return f"{_HEIGHT - held / top * (_HEIGHT - _HEADROOM):.1f}"

    def line(curve: CurveLine) -> str:
        return " ".join(f"{(at - first) / span * _WIDTH:.1f},{y(v)}" for at, v in curve.points)

    return _Chart(
        width=_WIDTH,
        height=_HEIGHT,
        curves=tuple(_Curve(line(c), f"{c.name} ({c.pid}) {mib(c.points[-1][1])}") for c in shown),
        limit=mib(limit) if limit else "",
        limit_y=y(limit),
        first=f"{first:.2f} s",
        last=f"{last:.2f} s",
    )


def _single_samples(curves: tuple[CurveLine, ...]) -> str:
    return ", ".join(f"{c.name} ({c.pid}) held {mib(c.points[-1][1])}" for c in curves if c.points)
