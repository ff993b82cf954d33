"""One plain HTML page for a report. It has no script and loads nothing; every text is escaped."""

from __future__ import annotations

from html import escape

from receiver.investigate.report import CurveLine, Hypothesis, Report
from receiver.render.terminal import culprit_text
from receiver.text.names import mib

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto;\
 padding: 0 1rem; color: #1c2024; }
h1 { font-size: 1.3rem; margin: 0; } h2 { font-size: 1rem; margin: 1.8rem 0 .4rem; }
.verdict { display: inline-block; padding: .1rem .6rem; border-radius: .3rem;\
 color: #fff; background: #6b7280; }
.incident { background: #c0262d; } .healthy { background: #1a7f4b; }
dl { display: grid; grid-template-columns: 7rem 1fr; gap: .3rem 1rem; }\
 dt { color: #6b7280; } dd { margin: 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }\
 td, th { text-align: left; padding: .2rem .6rem .2rem 0; vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }\
 code { font-size: .85em; color: #6b7280; }
svg { width: 100%; } svg text { font: 11px system-ui, sans-serif; fill: #444; }
"""
_WIDTH, _ROW = 900, 20
_MOMENTS = 16
_CURVE_HEIGHT = 120
_COLOURS = ("#c0262d", "#2563eb", "#6b7280", "#1a7f4b", "#b45309", "#7c3aed")


def page(report: Report) -> str:
    lead = report.hypotheses[0] if report.verdict == "incident" else None
    title = f"{report.execution.task}: {report.verdict}"
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style>",
        f'<h1><span class="verdict {report.verdict}">{escape(report.verdict.replace("_", " "))}',
        f"</span> {escape(report.execution.task)}</h1>",
        f"<p>{escape(report.summary)}</p>",
        _facts(report, lead),
        f"<h2>In order of time</h2>{_axis(report)}",
    ]
    if report.memory:
        parts.append(f"<h2>Memory</h2>{_curves(report.memory)}")
    parts += [_hypotheses(report), _answers(report)]
    return "".join(parts) + "</html>\n"


def _facts(report: Report, lead: Hypothesis | None) -> str:
    execution = report.execution
    rows = [("run", f"{execution.pipeline} {execution.run_id}"), ("outcome", execution.outcome)]
    if execution.reported_outcome not in (None, execution.outcome):
        rows[-1] = ("outcome", f"{execution.outcome}, reported as {execution.reported_outcome}")
    rows.append(("took", f"{execution.seconds:.2f} s"))
    if lead is not None:
        rows += [
            ("cause", f"{lead.cause} ({lead.confidence:.0%} sure)"),
            ("culprit", culprit_text(lead.culprit)),
            ("fix", lead.fix.text),
        ]
        rows.append(("before", report.answers.seen_before))
    rows += [
        ("not seen", f"{e['count']} {e['kind']} events ({e['reason']})")
        for e in report.completeness.lost
    ]
    rows += [("blind for", what) for what in report.completeness.blind]
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in rows) + "</dl>"


def _axis(report: Report) -> str:
    moments = report.timeline[:_MOMENTS]
    if not moments:
        return "<p>nothing of note</p>"
    first, last = moments[0].at, max(moments[-1].at, moments[0].at + 0.001)
    rows = []
    for number, moment in enumerate(moments):
        x = 8 + (moment.at - first) / (last - first) * 120
        y = 14 + number * _ROW
        rows.append(
            f'<line x1="8" y1="{y}" x2="128" y2="{y}" stroke="#ddd"/>'
            f'<circle cx="{x:.1f}" cy="{y}" r="4" fill="#c0262d"/>'
            f'<text x="140" y="{y + 4}">{moment.at:.2f} s  {escape(moment.text[:120])}</text>'
        )
    height = 20 + len(moments) * _ROW
    head = f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="time axis">'
    return f"{head}{''.join(rows)}</svg>"


def _curves(curves: tuple[CurveLine, ...]) -> str:
    shown = [c for c in curves if len(c.points) > 1][: len(_COLOURS)]
    if not shown:  # it did not live long enough for two samples
        once = ", ".join(
            f"{c.name} ({c.pid}) held {mib(c.points[-1][1])}" for c in curves if c.points
        )
        return f"<p>{escape(once) or 'not looked at'}</p>"
    limit = max(c.limit_bytes for c in shown)
    top = max(limit, max(v for c in shown for _, v in c.points), 1)
    first, last = min(c.points[0][0] for c in shown), max(c.points[-1][0] for c in shown)
    span = max(last - first, 0.001)

    def x(at: float) -> float:
        return 8 + (at - first) / span * (_WIDTH - 200)

    def y(held: int) -> float:
        return _CURVE_HEIGHT - held / top * (_CURVE_HEIGHT - 12)

    lines = []
    for colour, curve in zip(_COLOURS, shown, strict=False):
        points = " ".join(f"{x(at):.1f},{y(held):.1f}" for at, held in curve.points)
        at, held = curve.points[-1]
        label = escape(f"{curve.name} ({curve.pid}) {mib(held)}")
        lines.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        lines.append(f'<text x="{x(at) + 6:.1f}" y="{y(held):.1f}">{label}</text>')
    if limit:
        lines.append(
            f'<line x1="8" y1="{y(limit):.1f}" x2="{_WIDTH - 190}" y2="{y(limit):.1f}" '
            'stroke="#c0262d" stroke-dasharray="4 3"/>'
        )
        lines.append(f'<text x="10" y="{y(limit) + 12:.1f}">limit {mib(limit)}</text>')
    box = f"0 0 {_WIDTH} {_CURVE_HEIGHT + 10}"
    head = f'<svg viewBox="{box}" role="img" aria-label="memory over time">'
    return f"{head}{''.join(lines)}</svg>"


def _hypotheses(report: Report) -> str:
    out = []
    for hypothesis in report.hypotheses:
        confidence = f"{hypothesis.confidence:.0%}"
        head = f"{hypothesis.rank}. {hypothesis.cause}, {confidence}: {hypothesis.summary}"
        rows = "".join(
            f'<tr><td class="n">{w.weight:+.1f}</td><td>{escape(w.role)}</td>'
            f"<td>{escape(w.text)} <code>{escape(' '.join(w.refs[:4]))}</code></td></tr>"
            for w in hypothesis.weighed
        )
        ruled = "".join(
            f"<tr><td></td><td>not {escape(r.cause)}</td><td>{escape(r.because)}</td></tr>"
            for r in hypothesis.ruled_out
        )
        out.append(f"<h2>{escape(head)}</h2><table>{rows}{ruled}</table>")
    rows = "".join(f"<li>{escape(line.text)}</li>" for line in report.normality)
    return "".join(out) + (f"<h2>What was as usual</h2><ul>{rows}</ul>" if rows else "")


def _answers(report: Report) -> str:
    answers = report.answers
    chain = "".join(
        f"<li>{escape(k.cause)} <code>{escape(k.by)}</code> → {escape(k.effect)}</li>"
        for k in answers.what_started_it
    )
    rows = "".join(
        f"<tr><td>{escape(p.name)} ({p.pid})</td>"
        f"<td>{escape(p.end)}{escape(' by ' + p.by) if p.by else ''}</td>"
        f'<td class="n">{p.seconds:.2f} s</td>'
        f'<td class="n">{p.cpu_seconds:.2f} s</td><td class="n">{mib(p.peak_bytes)}</td></tr>'
        for p in answers.how_each_ended
    )
    beside = (
        "".join(f"<li>{escape(b)}</li>" for b in answers.what_else_ran)
        or "<li>nothing that stood out</li>"
    )
    return (
        (f"<h2>What led to what</h2><ul>{chain}</ul>" if chain else "")
        + "<h2>How each process ended</h2><table><tr><th>process</th><th>end</th><th>time</th>"
        + f"<th>CPU</th><th>peak</th></tr>{rows}</table>"
        + f"<h2>What else ran</h2><ul>{beside}</ul>"
    )
