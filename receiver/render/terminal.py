"""A report for people: one screen first, then the details."""

from __future__ import annotations

from collections.abc import Iterable

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from receiver.investigate.report import (
    EXPLAINED,
    Answers,
    CurveLine,
    Hypothesis,
    Report,
)
from receiver.render import PLAIN_WIDTH
from receiver.render.phrases import (
    ALSO,
    CAUSE,
    CRASH,
    CULPRIT,
    EVIDENCE,
    FIX,
    HISTORY,
    RULED_OUT,
    TIME,
    UNNOTICED,
    VERDICTS,
    WEIGHED,
    count_text,
    crash_text,
    culprit_text,
    lost_texts,
    outcome_text,
    time_text,
    unnoticed_text,
)
from receiver.render.sheet import (
    BOLD,
    DIM,
    GREEN,
    INDENT,
    RED,
    YELLOW,
    Sheet,
    evidence,
    indented,
    padded,
    plain,
)
from receiver.text.names import mib

_STRONGEST = 5
_AXIS = 44
_SPARKS = "▁▂▃▄▅▆▇█"
_SPARK_CELLS = 40
_RULED = 4
_TEXT_AT = 18  # column of the sentences below a time and a weight


def screen(report: Report, *, width: int = PLAIN_WIDTH, colour: bool = False) -> str:
    """Verdict, cause, culprit, fix, the five strongest facts on a time axis, what was ruled out,
    and what the observer could not see.
    """
    sheet = Sheet(width, colour=colour)
    sheet.blank()
    sheet.add(_head(report))
    if report.verdict in EXPLAINED:
        _incident(sheet, report)
    else:
        sheet.labelled(EVIDENCE, report.summary)
        for line in report.normality:
            sheet.add(indented(plain(line.text), 2 * INDENT))
        if report.hypotheses and report.verdict != "healthy":
            best = report.hypotheses[0]
            sheet.labelled("best guess", f"{best.cause} ({best.confidence:.0%}): {best.summary}")
    if spent := time_text(report):
        sheet.labelled(TIME, spent)
    _unseen(sheet, report)
    return sheet.text()


def _incident(sheet: Sheet, report: Report) -> None:
    lead = report.hypotheses[0]
    sheet.labelled(CAUSE, f"{lead.cause}: {lead.summary}")
    sheet.labelled(CULPRIT, culprit_text(lead.culprit))
    sheet.labelled(FIX, lead.fix.text)
    if unnoticed := unnoticed_text(report):
        sheet.labelled(UNNOTICED, unnoticed)
    sheet.labelled(HISTORY, report.answers.seen_before)
    sheet.blank()
    _strongest(sheet, report, lead)
    for crash in report.crashes[:2]:
        sheet.labelled(CRASH, crash_text(crash))
    _curves(sheet, report.memory)
    if lead.ruled_out:
        sheet.blank()
    for rival in lead.ruled_out[:_RULED]:
        sheet.labelled(RULED_OUT, f"{rival.cause}: {rival.because}")
    for other in report.other_incidents:
        first = other.hypotheses[0]
        sheet.labelled(ALSO, f"{first.cause}: {first.summary}")


def _head(report: Report) -> Text:
    style = {"incident": RED, "healthy": GREEN}.get(report.verdict, YELLOW)
    sure = f", {report.hypotheses[0].confidence:.0%} sure" if report.verdict in EXPLAINED else ""
    return Text.assemble(
        (f"── why ── {VERDICTS[report.verdict]}{sure}", f"{BOLD} {style}"),
        "   ",
        plain(f"{report.execution.task}: {outcome_text(report)}"),
        f", {report.execution.seconds:.2f} s",
    )


def _strongest(sheet: Sheet, report: Report, lead: Hypothesis) -> None:
    """Each with the time of its first event, on one axis."""
    best = [w for w in lead.weighed if w.refs and w.role in ("supports", "context")][:_STRONGEST]
    timed = sorted(
        ((min(_at(report, r) for r in w.refs), w) for w in best), key=lambda pair: pair[0]
    )
    if not timed:
        return
    end = max([report.execution.seconds, *(at for at, _ in timed), 0.001])
    cells = min(_AXIS, sheet.width - _TEXT_AT)
    sheet.add(indented(Text(f"{EVIDENCE}, with its time and its weight", DIM)))
    for at, line in timed:
        mark = min(cells - 1, max(0, round(at / end * (cells - 1))))
        weight = f"{line.weight:+.1f}" if line.weight else ""
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(width=_TEXT_AT - INDENT - 2, no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(f"{at:8.2f}s {weight:>4}", evidence(line.text, line.refs[:3]))
        grid.add_row("", Text("·" * mark + "●" + "·" * (cells - 1 - mark), DIM))
        sheet.add(indented(grid))


def _at(report: Report, event: str) -> float:
    return float(report.events.get(event, {}).get("at", 0.0))


def sparkline(points: Iterable[tuple[float, int]], most: int) -> str:
    values = [v for _, v in points][-_SPARK_CELLS:]
    return "".join(_SPARKS[min(7, v * 8 // max(1, most))] for v in values)


def _curves(sheet: Sheet, curves: tuple[CurveLine, ...]) -> None:
    shown = [c for c in curves if c.points][:3]
    if not any(c.role in ("victim", "subject") for c in shown):
        return
    most = max(max(v for _, v in c.points) for c in shown)
    limit = shown[0].limit_bytes
    sheet.blank()
    lines = [sparkline(c.points, max(most, limit)) for c in shown]
    cells = max(map(len, lines))
    for curve, line in zip(shown, lines, strict=True):
        last = curve.points[-1][1]
        role = f", {curve.role}" if curve.role not in ("", "subject") else ""
        text = f"{padded(line, cells)}  {mib(last)}  {curve.name} ({curve.pid}{role})"
        sheet.labelled("memory", text)
    if limit:
        sheet.labelled("limit", mib(limit))


def _unseen(sheet: Sheet, report: Report) -> None:
    for text in lost_texts(report):
        sheet.add(indented(plain(f"lost: {text}", YELLOW)))
    for what in report.completeness.blind:
        sheet.add(indented(plain(f"not visible here: {what}", YELLOW)))


def details(report: Report, *, width: int = PLAIN_WIDTH, colour: bool = False) -> str:
    """The other parts: all hypotheses with their evidence, the time axis, and the five answers."""
    sheet = Sheet(width, colour=colour)
    sheet.heading(WEIGHED)
    for hypothesis in report.hypotheses:
        _hypothesis(sheet, hypothesis)
    sheet.blank()
    sheet.heading("events in order of time")
    grid = _grid("right", "left")
    for moment in report.timeline:
        grid.add_row(f"{moment.at:.3f}s", evidence(moment.text, (moment.id,)))
    _listed(sheet, grid)
    sheet.blank()
    sheet.heading("chain from cause to effect")
    for link in report.answers.what_started_it:
        text = f"{link.cause} ─({link.by})→ {link.effect}"
        sheet.add(indented(evidence(text, link.evidence[:3]), 2 * INDENT))
    _answers(sheet, report.answers)
    sheet.blank()
    sheet.labelled(HISTORY, report.answers.seen_before)
    sheet.labelled("signature", f"{report.signature or '-'}, report {report.id}")
    return sheet.text()


def _hypothesis(sheet: Sheet, hypothesis: Hypothesis) -> None:
    head = f"{hypothesis.rank}. {hypothesis.cause} ({hypothesis.confidence:.0%})"
    sheet.add(indented(plain(f"{head}, {CULPRIT}: {culprit_text(hypothesis.culprit)}")))
    grid = _grid("right", "left", "left", "left")
    for line in hypothesis.weighed:
        shown = evidence(line.text, line.refs[:4])
        grid.add_row(f"{line.weight:+.1f}", count_text(line), line.role, shown)
    for rival in hypothesis.ruled_out:
        text = f"{rival.cause}: {rival.because}"
        grid.add_row("", "", RULED_OUT, evidence(text, rival.evidence[:4]))
    _listed(sheet, grid)


def _answers(sheet: Sheet, answers: Answers) -> None:
    sheet.blank()
    sheet.heading("how each process ended")
    name = max((cell_len(f"{p.name} ({p.pid})") for p in answers.how_each_ended), default=0)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=min(name, sheet.width // 3))
    grid.add_column(overflow="fold")
    for line in answers.how_each_ended:
        by = f" by {line.by}" if line.by else ""
        used = f"{line.seconds:.2f} s, {line.cpu_seconds:.2f} s of CPU, {mib(line.peak_bytes)}"
        grid.add_row(plain(f"{line.name} ({line.pid})"), plain(f"{line.end}{by}, {used}"))
    _listed(sheet, grid)
    sheet.blank()
    sheet.heading("largest users")
    for kind, who in answers.who_used_what.items():
        sheet.add(indented(plain(f"{kind}: {who}"), 2 * INDENT))
    sheet.blank()
    sheet.heading("other activity on the host")
    for what in answers.what_else_ran or ("nothing notable",):
        sheet.add(indented(plain(what), 2 * INDENT))


def _grid(*aligned: str) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for how in aligned[:-1]:
        grid.add_column(justify=how, no_wrap=True)  # type: ignore[arg-type]
    grid.add_column(justify=aligned[-1], overflow="fold")  # type: ignore[arg-type]
    return grid


def _listed(sheet: Sheet, grid: Table) -> None:
    if grid.row_count:
        sheet.add(indented(grid, 2 * INDENT))


__all__ = ["details", "screen", "sparkline"]
