"""Scores what was played, and counts the scores of a set."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

import msgspec

from tests.incidents.generated.play import Played
from tests.incidents.results import Result
from tests.incidents.score import score, share, upper_bound

_BINS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)


class Line(msgspec.Struct, kw_only=True):
    """One saved run. It holds scores alone, so that nobody who counts them sees a case."""

    number: int
    sick: bool
    state: str  # played, void, unavailable
    visible: str = ""
    class_at_1: bool = False
    joint: bool = False
    right: bool = False
    incident: bool = False
    alarm: bool = False
    confidence: float = 0.0
    invented: int = 0
    true: int = 0
    false: int = 0
    undecided: int = 0
    seconds: float = 0.0


def result_of(played: Played) -> Result:
    name = played.composition.fault
    return Result(
        name,
        "",
        "",
        played.visible,
        played.composition.number,
        played.truth,
        played.report,
        0,
        log=played.log,
    )


def line_of(played: Played) -> Line:
    report, found = played.report, score(result_of(played))
    healthy = played.truth.verdict == "healthy"
    return Line(
        number=played.composition.number,
        sick=played.composition.sick,
        state="played",
        visible=played.visible,
        class_at_1=bool(found.class_at_1),
        joint=bool(found.joint_at_1),
        alarm=found.alarm,
        right=report["verdict"] not in ("incident", "not_visible") if healthy else found.right,
        incident=report["verdict"] == "incident",
        confidence=found.confidence,
        invented=found.invented,
        true=played.true,
        false=len(played.false),
        undecided=len(played.undecided),
        seconds=played.seconds,
    )


# ── counting ──────────────────────────────────────────────────────────────────────────────────────


def _stated(lines: Iterable[Line]) -> list[Line]:
    """Those with a lead hypothesis: its confidence is a claim to be right."""
    return [each for each in lines if each.incident and each.confidence > 0]


def _joint(each: Line) -> bool:
    return each.sick and each.joint


def reliability(lines: Sequence[Line]) -> list[tuple[str, int, float, float]]:
    """For each bin of confidence: its name, the runs, the mean confidence, the share
    that was right."""
    rows = []
    for low, high in itertools.pairwise(_BINS):
        inside = [
            e
            for e in _stated(lines)
            if low <= e.confidence < high or (high == 1.0 and e.confidence == 1.0)
        ]
        if inside:
            mean, good = sum(e.confidence for e in inside) / len(inside), sum(map(_joint, inside))
            rows.append((f"{low:.2f} to {high:.2f}", len(inside), mean, good / len(inside)))
    return rows


def calibration_error(lines: Sequence[Line]) -> float:
    """ECE: the mean distance between confidence and share right, weighted by the runs
    of each bin."""
    rows = reliability(lines)
    total = sum(count for _, count, _, _ in rows)
    return sum(count * abs(mean - good) for _, count, mean, good in rows) / total if total else 0.0


def _share_lines(sick: Sequence[Line]) -> list[str]:
    out = [
        "| | K: kernel events prove the cause | P: they prove it in part |",
        "|---|---|---|",
    ]
    for label, name in (
        ("class and culprit at 1 (joint@1)", "joint"),
        ("class at 1", "class_at_1"),
    ):
        cells = []
        for visible in "KP":
            group = [e for e in sick if e.visible == visible]
            cells.append(share(sum(bool(getattr(e, name)) for e in group), len(group)))
        out.append(f"| {label} | {' | '.join(cells)} |")
    return out


def _figure_lines(played: Sequence[Line]) -> list[str]:
    sick, twins = [e for e in played if e.sick], [e for e in played if not e.sick]
    absent = [e for e in sick if e.visible == "N"]
    alarms = sum(e.alarm for e in twins)
    false, true = sum(e.false for e in played), sum(e.true for e in played)
    out = [
        (
            "- Causes that the kernel does not see, reported as not visible: "
            f"{share(sum(e.right for e in absent), len(absent))}."
        ),
        (
            f"- False alarms: {alarms} of {len(twins)} healthy twins (upper 95% bound "
            f"{upper_bound(alarms, len(twins)):.1%}). "
            "Twins reported as neither an incident nor a failure: "
            f"{share(sum(e.right for e in twins), len(twins))}."
        ),
        f"- Cited events that are not in the report: {sum(e.invented for e in played)}.",
        (
            "- Calibration (ECE of the first hypothesis of every reported incident): "
            f"{calibration_error(played):.3f}."
        ),
    ]
    if true + false:
        out.append(f"- Sentences that the second witness decided: {true} true, {false} false.")
    return out


def _reliability_lines(played: Sequence[Line]) -> list[str]:
    out = ["| confidence | runs | mean | right |", "|---|---|---|---|"]
    return out + [
        f"| {name} | {count} | {mean:.2f} | {good:.2f} |"
        for name, count, mean, good in reliability(played)
    ]


def summary(lines: Sequence[Line]) -> list[str]:
    """Lines of Markdown: aggregates alone."""
    played = [e for e in lines if e.state == "played"]
    sick = [e for e in played if e.sick]
    return [
        (
            f"{len(sick)} compositions and {len(played) - len(sick)} healthy twins were played; "
            f"{sum(e.state == 'void' for e in lines)} runs were void "
            "(the record of the run does not show what was composed), "
            f"{sum(e.state == 'unavailable' for e in lines)} not possible here."
        ),
        "",
        *_share_lines(sick),
        "",
        *_figure_lines(played),
        "",
        *_reliability_lines(played),
    ]
