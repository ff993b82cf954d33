"""A report against the witnesses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from tests.truth.claims import decide
from tests.truth.forms import Scene, near
from tests.truth.strace import Life

_NEGATIVE = ("No ", "Nobody", "Nothing", "None ", " no process", " nobody", " nothing")
_BYTES_SLACK = 4096
# Sentences about the conclusions of the report, and not about the run.
_REASONING = re.compile(
    r"It would be a consequence of this cause|Its evidence is weaker"
    r"|It is a part of the same incident"
)


class Verdicts(msgspec.Struct):
    """`undecided`: sentences of which no claim was decided."""

    true: int = 0
    false: list[str] = msgspec.field(default_factory=list)
    undecided: list[str] = msgspec.field(default_factory=list)

    def add(self, other: Verdicts) -> None:
        self.true += other.true
        self.false += other.false
        self.undecided += other.undecided

    @property
    def negative(self) -> list[str]:
        """Undecided sentences that deny something."""
        return [s for s in self.undecided if any(word in s for word in _NEGATIVE)]


def sentences(report: dict[str, Any]) -> Iterator[str]:
    """All that a report says in words."""
    yield report["summary"]
    for each in (*report["symptoms"], *report["normality"]):
        yield each["text"]
    for hypothesis in report["hypotheses"]:
        yield hypothesis["summary"]
        for weighed in hypothesis["weighed"]:
            yield weighed["text"]
        for ruled in hypothesis["ruled_out"]:
            yield ruled["because"]
        yield hypothesis["fix"]["text"]


def check(scene: Scene) -> Verdicts:
    found, advice = Verdicts(), _advice(scene.report)
    for sentence in dict.fromkeys(sentences(scene.report)):
        decided = [(claim, value) for claim, value in decide(sentence, scene) if value is not None]
        for claim, value in decided:
            if value:
                found.true += 1
            else:
                found.false.append(f"{claim} | {sentence}")
        if not decided and sentence not in advice and not _REASONING.match(sentence):
            found.undecided.append(sentence)
    _rows(scene, found)
    _citations(scene, found)
    return found


def _advice(report: dict[str, Any]) -> set[str]:
    """What to do: no claim, where it has no number."""
    fixes = {hypothesis["fix"]["text"] for hypothesis in report["hypotheses"]}
    return {text for text in fixes if not re.search(r"\d", text)}


def _rows(scene: Scene, found: Verdicts) -> None:
    """The table of processes: ends, durations, bytes."""
    for row in scene.report["answers"]["how_each_ended"]:
        life = scene.life(row["pid"])
        if life is None or not life.ended:
            continue
        who, end = f"{row['name']} ({row['pid']})", row["end"]
        claims = {
            f"{who} ended: {end}": _ended(end, life),
            f"{who} lived {row['seconds']} s": end == "still running"
            or near(row["seconds"], life.lasted()),
            f"{who} wrote {row['written_bytes']} bytes": _bytes(row["written_bytes"], life.written),
        }
        for claim, value in claims.items():
            if value:
                found.true += 1
            else:
                found.false.append(
                    f"{claim}; strace: {life.code} {life.killed_by} "
                    f"{life.lasted():.2f} s {life.written} bytes"
                )


def _ended(end: str, life: Life) -> bool:
    if end == "still running":
        return True  # when the report was made
    if end.startswith("exit "):
        return str(life.code) == end.split()[1]
    return bool(life.killed_by) and (life.killed_by in end or "OOM" in end)


def _bytes(claimed: int, seen: int) -> bool:
    """`write_bytes` of a process that was forked counts from the fork, as strace does."""
    return abs(claimed - seen) <= _BYTES_SLACK + 0.02 * seen


def _citations(scene: Scene, found: Verdicts) -> None:
    events = scene.report["events"]
    for hypothesis in scene.report["hypotheses"]:
        for each in (hypothesis["evidence"], *(w["refs"] for w in hypothesis["weighed"])):
            for event in each:
                if event in events:
                    found.true += 1
                else:
                    found.false.append(f"event {event} is cited and does not exist")
