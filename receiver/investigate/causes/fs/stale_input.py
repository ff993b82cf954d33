"""The cause card fs.stale_input."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from receiver.investigate.cards import cause_class
from receiver.investigate.case import Case
from receiver.investigate.causes.file_pairs import Pair, readers_of, writers_of
from receiver.investigate.evidence import (
    CLEAR,
    SOME,
    Candidate,
    facts,
    facts_of_use,
    file_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.model import Identity
from receiver.work.execution import Execution

_DATE = re.compile(r"\d{4}-\d\d-\d\d|(?<!\d)\d{8}(?!\d)|\d{4}/\d\d/\d\d")


def stale(case: Case) -> Iterator[Candidate]:
    """Finds input of another date, although this run had already written the data of its own date.

    No other process read that data.
    """
    writers, readers = writers_of(case), readers_of(case)
    fresh: dict[str, list[Pair]] = defaultdict(list)
    for key, pairs in writers.items():
        if key not in readers:
            for actor, use in pairs:
                if _DATE.search(use.path):
                    fresh[_DATE.sub("#", use.path)].append((actor, use))
    for key, pairs in readers.items():
        reader, use = pairs[0]
        alike = (
            fresh.get(_DATE.sub("#", use.path), ())
            if key not in writers and _DATE.search(use.path)
            else ()
        )
        hit = next(
            ((a, u) for a, u in alike if u.last_ns <= use.first_ns and not case.related(a, reader)),
            None,
        )
        if hit is None or use.source is not None or not use.read_bytes:
            continue
        writer, wrote = hit
        evidence = [
            supports(
                "fs.stale_input.unwritten_here",
                CLEAR,
                f"{reader.who} read {use.path}, which no process of this run wrote.",
                facts_of_use(use),
            )
        ]
        text = f"{writer.who} had written {wrote.path} before, and no process read it."
        evidence.append(
            supports("fs.stale_input.fresh_one_unread", CLEAR, text, facts_of_use(wrote))
        )
        summary = f"{reader.who} read {use.path} instead of {wrote.path}, which this run wrote."
        yield Candidate(
            cause="fs.stale_input",
            culprit=file_culprit(use),
            summary=summary,
            evidence=tuple(evidence),
            subject=reader.key,
            at_ns=use.first_ns,
            harms_without_failure=True,
        )


def older(case: Case) -> Iterator[Candidate]:
    """Finds input that another run wrote, while this run's own writer of it was still at work.

    To read an earlier run's output is common: a state that a task keeps for itself, or data that
    changes seldom. Only the writer of this run shows that a new version was due.
    """
    for actor in case:
        for use in actor.uses:
            source = use.source
            if source is None or source.work is None or not use.reading or use.writing:
                continue
            writer = _due_writer(case, actor, source.work.identity)
            if writer is None or source.work.outermost is case.execution:
                continue
            theirs, ours = source.work.identity, actor.execution.identity
            text = (
                f"{use.path} was written by run {theirs.run_id} of task {theirs.task}, not by this "
                f"run ({ours.run_id}), whose task {theirs.task} had not ended."
            )
            evidence = [
                supports(
                    "fs.stale_input.of_another_run",
                    CLEAR + SOME,
                    text,
                    [*facts_of_use(use), *facts(source.opened)],
                )
            ]
            summary = f"{actor.who} read {use.path}, which an older run wrote."
            yield Candidate(
                cause="fs.stale_input",
                culprit=file_culprit(use),
                summary=summary,
                evidence=tuple(evidence),
                subject=actor.key,
                at_ns=use.first_ns,
                harms_without_failure=True,
            )


def _due_writer(case: Case, reader: ProcessSnapshot, theirs: Identity) -> Execution | None:
    """Returns the work of the reader's run that has the name of the writer's, and that is open."""
    ours = reader.execution.identity
    if _names(theirs)[:3] != _names(ours)[:3]:
        return None
    if theirs.run_id == ours.run_id or theirs.task == ours.task:
        return None
    due = (ours.owner, ours.system, ours.pipeline, ours.run_id, theirs.task)
    return next((e for e in case.beside if _names(e.identity) == due), None)


def _names(identity: Identity) -> tuple[int, str, str, str, str]:
    return identity.owner, identity.system, identity.pipeline, identity.run_id, identity.task


CARD = cause_class(
    name="fs.stale_input",
    title="it read an older file instead of this run's file",
    predicts="an input that this run did not write",
    rivals="fs.read_early fs.truncated",
    may_be_remote=True,
    tag="freshness_gate",
    fix=("Put the run's id or date into the path, and check that the input belongs to this run."),
    visible="P",
    needs="file_opened",
    spreads=True,
    find=(
        older,
        stale,
    ),
)
