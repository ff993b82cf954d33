"""How good the answers are: per run, by class, and over all, with intervals."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from receiver.investigate.report import EXPLAINED
from tests.incidents.results import Result


class Score(msgspec.Struct, frozen=True):
    """One run. None: the figure does not apply."""

    class_at_1: bool | None
    class_at_3: bool | None
    family_at_1: bool | None
    culprit_at_1: bool | None
    joint_at_1: bool | None
    rivals: float | None
    verdict: bool
    alarm: bool
    invented: int
    confidence: float
    right: bool


def same_culprit(truth: dict[str, Any], culprit: dict[str, Any]) -> bool:
    """Any of the truth's names for it."""
    if not truth or truth.get("any_pid"):
        return True
    checks: dict[str, Callable[[Any], bool]] = {
        "pid": lambda v: culprit.get("pid") == v,
        "pids": lambda v: culprit.get("pid") in v,
        "path": lambda v: (
            bool(culprit.get("path"))
            and (culprit["path"] == v or culprit["path"].rpartition("/")[2] == v)
        ),
        "address": lambda v: culprit.get("address") == v,
        "cgroup": lambda v: culprit.get("cgroup", "").endswith(v),
        "name": lambda v: culprit.get("name") == v,
        "any_pid_below": lambda v: False,
    }
    return any(checks[name](value) for name, value in truth.items())


def invented(report: dict[str, Any]) -> int:
    """Cited ids that are no events of the report."""
    known = set(report["events"])
    found = {m["id"] for m in (*report["timeline"], *report["symptoms"])}
    for group in (report["hypotheses"], *(o["hypotheses"] for o in report["other_incidents"])):
        for each in group:
            found |= {r for w in each["weighed"] for r in w["refs"]} | {
                e for r in each["ruled_out"] for e in r["evidence"]
            }
    found |= {e for link in report["answers"]["what_started_it"] for e in link["evidence"]}
    return len(found - known)


def score(result: Result) -> Score:
    truth, report = result.truth, result.report
    guesses = report["hypotheses"] if report["verdict"] in EXPLAINED else []
    lead = guesses[0] if guesses else None
    alarm = report["verdict"] == "incident"
    fake = invented(report)
    confidence = lead["confidence"] if lead is not None else 0.0
    if truth.verdict not in EXPLAINED:
        right = report["verdict"] == truth.verdict
        return Score(None, None, None, None, None, None, right, alarm, fake, confidence, right)
    accepted = (truth.cause, *truth.also_right)
    first = lead is not None and lead["cause"] in accepted
    third = any(g["cause"] in accepted for g in guesses[:3])
    family = lead is not None and lead["cause"].partition(".")[0] == truth.cause.partition(".")[0]
    culprit = lead is not None and same_culprit(truth.culprit, lead["culprit"])
    rejected = (
        {r["cause"] for r in lead["ruled_out"]} | {g["cause"] for g in guesses[1:]}
        if lead is not None and first
        else set()
    )
    rivals = len(rejected & set(truth.rivals)) / len(truth.rivals) if truth.rivals else None
    return Score(
        first,
        third,
        family,
        culprit,
        first and culprit,
        rivals,
        report["verdict"] == truth.verdict,
        alarm,
        fake,
        confidence,
        first and culprit,
    )


def wilson(good: int, of: int) -> tuple[float, float]:
    """95% interval of a share (Wilson, 1927)."""
    if not of:
        return 0.0, 1.0
    z, p = 1.96, good / of
    middle, spread = p + z * z / (2 * of), z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of))
    return max(0.0, (middle - spread) / (1 + z * z / of)), min(
        1.0, (middle + spread) / (1 + z * z / of)
    )


def share(good: int, of: int) -> str:
    """With its interval, for people."""
    low, high = wilson(good, of)
    return f"{good} of {of} ({good / of:.2f}; {low:.2f} to {high:.2f})" if of else "-"


def upper_bound(bad: int, of: int) -> float:
    """Exact (Clopper-Pearson) 95% upper bound for `bad` of `of`, one-sided 97.5%."""
    if bad >= of:
        return 1.0
    low, high = bad / of if of else 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        tail = sum(math.comb(of, k) * middle**k * (1 - middle) ** (of - k) for k in range(bad + 1))
        low, high = (middle, high) if tail > 0.025 else (low, middle)
    return high


def macro(results: Iterable[tuple[str, bool | float | None]]) -> float:
    """The mean of the means of the classes."""
    by: dict[str, list[float]] = defaultdict(list)
    for name, value in results:
        if value is not None:
            by[name].append(float(value))
    return sum(sum(v) / len(v) for v in by.values()) / len(by) if by else 0.0


def brier(scores: Iterable[Score]) -> float:
    found = [
        (s.confidence - float(s.right)) ** 2
        for s in scores
        if s.class_at_1 is not None and s.confidence
    ]
    return sum(found) / len(found) if found else 0.0
