"""The cause card time.clock."""

from __future__ import annotations

from collections.abc import Iterator

from receiver.investigate.cards import cause_class
from receiver.investigate.case import Case
from receiver.investigate.evidence import (
    SOME,
    STRONG,
    Candidate,
    Culprit,
    fact_of_clock_step,
    supports,
)


def clock(case: Case) -> Iterator[Candidate]:
    for step in case.clock_steps:
        moved = step.delta_ns / 1e9
        evidence = [
            supports(
                "time.clock.moved",
                STRONG,
                f"The wall clock was moved by {moved:+.3f} s while it ran.",
                [fact_of_clock_step(step)],
            )
        ]
        if abs(moved) >= 1:
            evidence.append(
                supports(
                    "time.clock.more_than_a_second",
                    SOME,
                    (
                        "That is more than a second: the time stamps of files and tokens "
                        "are no longer in order."
                    ),
                    [fact_of_clock_step(step)],
                )
            )
        summary = f"The wall clock of the host moved by {moved:+.1f} s during the run."
        yield Candidate(
            cause="time.clock",
            culprit=Culprit(type="host"),
            summary=summary,
            evidence=tuple(evidence),
            subject=None,
            at_ns=step.at_ns,
            harms_without_failure=True,
        )


CARD = cause_class(
    name="time.clock",
    title="the wall clock was moved",
    predicts="a step of the wall clock",
    rivals="fs.stale_input",
    tag="ntp",
    fix=("Let the clock be slewed (chrony, NTP), and do not compare times of different hosts."),
    visible="P",
    spreads=True,
    find=(clock,),
)
