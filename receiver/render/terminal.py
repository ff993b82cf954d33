"""A report for people: one screen first, then the details."""

from __future__ import annotations

from collections.abc import Iterable

from receiver.investigate.evidence import Culprit
from receiver.investigate.report import CrashLine, CurveLine, Hypothesis, Moment, Report
from receiver.render.process_tree import BOLD, DIM, GREEN, RED, YELLOW, Painter
from receiver.text.names import mib

_STRONGEST = 5
_AXIS = 44
_SPARKS = "▁▂▃▄▅▆▇█"
_WIDTH = 118
_RULED = 4


def screen(report: Report, *, colour: bool = False) -> str:
    """Verdict, cause, culprit, fix, the five strongest facts on a time axis, what was ruled out,
    and what the observer could not see.
    """
    paint = Painter(colour)
    lines = ["", _head(report, paint)]
    if report.verdict == "incident":
        lead = report.hypotheses[0]
        lines += _labelled("cause", f"{lead.cause}: {lead.summary}", paint)
        lines += _labelled("culprit", culprit_text(lead.culprit), paint)
        lines += _labelled("fix", lead.fix.text, paint)
        lines += _labelled("before", report.answers.seen_before, paint)
        lines += ["", *_strongest(report, lead, paint)]
        lines += [
            line
            for crash in report.crashes[:2]
            for line in _labelled("crashed", crash_text(crash), paint)
        ]
        lines += _curves(report.memory, paint)
        lines += ["", *_ruled_out(lead, paint)]
        for other in report.other_incidents:
            lines += _labelled(
                "and also", f"{other.hypotheses[0].cause}: {other.hypotheses[0].summary}", paint
            )
    else:
        lines += _labelled(
            "because" if report.verdict != "healthy" else "seen", report.summary, paint
        )
        lines += [f"    {line.text}" for line in report.normality]
        if report.hypotheses and report.verdict != "healthy":
            best = report.hypotheses[0]
            lines += _labelled(
                "best guess", f"{best.cause} ({best.confidence:.0%}): {best.summary}", paint
            )
    lines += _unseen(report, paint)
    return "\n".join(lines)


def _head(report: Report, paint: Painter) -> str:
    verdict = {
        "incident": "INCIDENT",
        "healthy": "HEALTHY",
        "not_visible": "NOT VISIBLE FROM HERE",
        "incomplete": "INCOMPLETE",
    }
    style = {"incident": RED, "healthy": GREEN}.get(report.verdict, YELLOW)
    sure = f", {report.hypotheses[0].confidence:.0%} sure" if report.verdict == "incident" else ""
    what = f"{report.execution.task}: {report.execution.outcome}"
    if report.execution.reported_outcome not in (None, report.execution.outcome):
        what += f" (reported: {report.execution.reported_outcome})"
    return (
        paint(f"── why ── {verdict[report.verdict]}{sure}", BOLD + style)
        + f"   {what}, {report.execution.seconds:.2f} s"
    )


def _labelled(label: str, text: str, paint: Painter) -> list[str]:
    first, *rest = _wrapped(text, _WIDTH - 12)
    return [paint(f"  {label:<10}", DIM) + first, *(" " * 12 + line for line in rest)]


def _wrapped(text: str, width: int) -> list[str]:
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


def culprit_text(culprit: Culprit) -> str:
    """`process python3 (4711)`, `file /data/x.csv (inode 42); ended by …`."""
    match culprit.type:
        case "file":
            what = f"file {culprit.path}" + (f" (inode {culprit.inode})" if culprit.inode else "")
        case "endpoint":
            what = f"endpoint {culprit.address}" + (f" ({culprit.name})" if culprit.name else "")
        case "cgroup":
            what = f"cgroup {culprit.cgroup}"
        case "process":
            what = f"process {culprit.name} ({culprit.pid})".replace("  ", " ")
            what += (
                f" at {culprit.path}"
                if culprit.path
                else f" towards {culprit.address}"
                if culprit.address
                else ""
            )
        case _:
            what = f"{culprit.type} {culprit.name or culprit.task}".rstrip()
    if culprit.host:
        what += f" on {culprit.host}"
    if culprit.sender is not None:
        by = culprit.sender
        what += f"; {by.signal + ' from ' if by.signal else 'by '}{by.name} ({by.pid})"
    return what


def crash_text(crash: CrashLine) -> str:
    """`parse+0x8 in /opt/x/libwork.so (offset 0x1131, build id 0328…)`."""
    # no file is mapped there, or the mappings changed while they were read (counted as `busy`)
    if not crash.module:
        return f"{crash.name} ({crash.pid}) at address {crash.address:#x}"
    where = crash.module
    name = f"{crash.function}+{crash.function_offset:#x} in {where}" if crash.function else where
    identity = f", build id {crash.build_id}" if crash.build_id else ""
    return f"{crash.name} ({crash.pid}) at {name} (offset {crash.offset:#x}{identity})"


def _strongest(report: Report, lead: Hypothesis, paint: Painter) -> list[str]:
    """Each with the time of its first event, on one axis."""
    best = [w for w in lead.weighed if w.refs and w.role in ("supports", "context")][:_STRONGEST]
    timed = sorted(
        ((min(_at(report, r) for r in w.refs), w) for w in best), key=lambda pair: pair[0]
    )
    end = max([report.execution.seconds, *(at for at, _ in timed), 0.001])
    out = []
    for at, line in timed:
        mark = min(_AXIS - 1, max(0, round(at / end * (_AXIS - 1))))
        axis = "·" * mark + "●" + "·" * (_AXIS - 1 - mark)
        refs = paint(f"[{' '.join(line.refs[:3])}]", DIM)
        weight = f"{line.weight:+.1f}" if line.weight else "    "
        head, *rest = _wrapped(line.text, _WIDTH - 20)
        out.append(
            f"  {at:8.2f}s {weight}  {head} {refs}"
            if not rest
            else f"  {at:8.2f}s {weight}  {head}"
        )
        out += [" " * 18 + each for each in rest[:-1]] + (
            [" " * 18 + f"{rest[-1]} {refs}"] if rest else []
        )
        out.append(paint(f"  {'':>9}       {axis}", DIM))
    return out


def _at(report: Report, event: str) -> float:
    return float(report.events.get(event, {}).get("at", 0.0))


def sparkline(points: Iterable[tuple[float, int]], most: int) -> str:
    values = [v for _, v in points][-40:]
    return "".join(_SPARKS[min(7, v * 8 // max(1, most))] for v in values)


def _curves(curves: tuple[CurveLine, ...], paint: Painter) -> list[str]:
    shown = [c for c in curves if c.points][:3]
    if not shown or not any(c.role in ("victim", "subject") for c in shown):
        return []
    most = max(max(v for _, v in c.points) for c in shown)
    limit = shown[0].limit_bytes
    top = max(most, limit)
    out = [""]
    for curve in shown:
        last = curve.points[-1][1]
        role = f", {curve.role}" if curve.role not in ("", "subject") else ""
        out.append(
            f"  memory    {sparkline(curve.points, top):<40} {mib(last)}  "
            f"{curve.name} ({curve.pid}{role})"
        )
    if limit:
        out[-1] += paint(f"   limit {mib(limit)}", DIM)
    return out


def _ruled_out(lead: Hypothesis, paint: Painter) -> list[str]:
    out = []
    for rival in lead.ruled_out[:_RULED]:
        out += _labelled("not", f"{rival.cause}: {rival.because}", paint)
    return out


def _unseen(report: Report, paint: Painter) -> list[str]:
    out = [
        paint(f"  not seen: {e['count']} {e['kind']} events were lost ({e['reason']})", YELLOW)
        for e in report.completeness.lost
    ]
    return out + [
        paint(f"  not visible here: {what}", YELLOW) for what in report.completeness.blind
    ]


def details(report: Report, *, colour: bool = False) -> str:
    """Everything else: all hypotheses with their evidence, the time axis, and the five answers."""
    paint = Painter(colour)
    lines = [paint("  what speaks for and against", BOLD)]
    for hypothesis in report.hypotheses:
        lines.append(
            f"  {hypothesis.rank}. {hypothesis.cause} ({hypothesis.confidence:.0%}), "
            f"{culprit_text(hypothesis.culprit)}"
        )
        lines += [
            f"       {w.weight:+5.1f} {w.role:<11} {w.text} [{' '.join(w.refs[:4])}]"
            for w in hypothesis.weighed
        ]
    lines += ["", paint("  in order of time", BOLD), *(_moment(m) for m in report.timeline)]
    answers = report.answers
    lines += ["", paint("  what led to what", BOLD)]
    lines += [
        f"    {link.cause} ─({link.by})→ {link.effect} [{' '.join(link.evidence[:3])}]"
        for link in answers.what_started_it
    ]
    lines += ["", paint("  how each process ended", BOLD)]
    for line in answers.how_each_ended:
        by = f" by {line.by}" if line.by else ""
        lines.append(
            f"    {line.name} ({line.pid}): {line.end}{by}, {line.seconds:.2f} s, "
            f"{line.cpu_seconds:.2f} s of CPU, {mib(line.peak_bytes)}"
        )
    lines += [
        "",
        paint("  who used most", BOLD),
        *(f"    {name}: {who}" for name, who in answers.who_used_what.items()),
    ]
    lines += [
        "",
        paint("  what else ran", BOLD),
        *(f"    {what}" for what in answers.what_else_ran or ("nothing that stood out",)),
    ]
    lines += [
        "",
        f"  {answers.seen_before}",
        f"  signature {report.signature or '-'}, report {report.id}",
    ]
    return "\n".join(lines)


def _moment(moment: Moment) -> str:
    return f"    {moment.at:9.3f}s  {moment.text} [{moment.id}]"
