"""The cause card proc.exit_masked."""

from __future__ import annotations

from collections.abc import Iterator

from receiver import semconv as sc
from receiver.events import ProcessKey
from receiver.investigate.aftermath import followed_by, redone_by
from receiver.investigate.cards import Nature, cause_class
from receiver.investigate.case import Case
from receiver.investigate.causes.common import failed_with_it, shells, shorter
from receiver.investigate.causes.ends import LONG_NS
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Evidence,
    contradicts,
    ends,
    facts,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.work.children import ExitSeverity


def masked(case: Case) -> Iterator[Candidate]:
    """Finds the deepest failure below a parent that exited with status 0."""
    reported = {
        f.process
        for f in case.execution.findings
        if f.kind == sc.EVENT_PIPELINE_TASK_RESULT_MISMATCH
    }
    for actor in case:
        parent = case.get(actor.parent)
        if (
            actor.exit_severity < ExitSeverity.FAILED
            or actor.exit is None
            or parent is None
            or parent.exit is None
        ):
            continue
        if parent.end.code != 0 and not _lost_in_a_pipe(case, actor, parent):
            continue
        below = [c for c in case.children(actor) if c.exit_severity > ExitSeverity.ANSWER]
        if (below and not shells(actor)) or redone_by(case, actor) is not None or _answered(actor):
            continue
        deepest = below[-1] if below else actor
        yield _candidate(case, actor, deepest, parent, reported)


def _candidate(
    case: Case,
    actor: ProcessSnapshot,
    deepest: ProcessSnapshot,
    parent: ProcessSnapshot,
    reported: set[ProcessKey],
) -> Candidate:
    did = "reported success" if parent.end.code == 0 else "continued"
    silent = case.execution.masked or bool({deepest.key, actor.key} & reported)
    summary = f"{deepest.who} {deepest.end.words}, but {parent.who} {did}."
    remedy = f"Let {parent.who} end with a failure, when {deepest.who} fails."
    if not silent and parent.end.code == 0:
        # nobody can see whether that process was meant for this case
        after = followed_by(case, actor)
        then = f"{after.who} does not replace" if after is not None else "nothing replaced"
        summary = f"{deepest.who} {deepest.end.words}; {_went_on(case, actor, parent, after)}."
        remedy = f"If {then} what {deepest.who} did: {remedy}"
    went_on = "exited with status 0" if parent.end.code == 0 else "continued"
    text = f"{deepest.who} {deepest.end.words}; {parent.who} above it {went_on}."
    evidence = [supports("proc.exit_masked.went_on", CLEAR, text, [*ends(deepest), *ends(parent)])]
    evidence += _context_of_loss(case, actor, parent)
    for version in case.execution.outputs[:4]:
        evidence += shorter(case, version.path, version.size_bytes, facts(version.opened))
    return Candidate(
        cause="proc.exit_masked",
        culprit=process_culprit(parent),
        summary=summary,
        remedy="" if shells(parent) and silent else remedy,
        evidence=tuple(evidence),
        subject=deepest.key,
        at_ns=actor.end_ns,
        harms_without_failure=silent,
    )


def _went_on(
    case: Case, actor: ProcessSnapshot, parent: ProcessSnapshot, after: ProcessSnapshot | None
) -> str:
    """Says who went on with what. Above a fork of a shell, that is the shell."""
    if after is None:
        who, what = parent, f"{parent.who} went on"
    elif after in case.above(actor):
        who, which = after, "its parent" if after is parent else "the process above it"
        what = f"{which} went on as {who.who}"
    else:
        who = case.get(after.parent) or parent
        what = f"{who.who} went on with {after.who}"
    return what if who.exit is None else f"{what}, and {who.end.words}"


def _context_of_loss(case: Case, actor: ProcessSnapshot, parent: ProcessSnapshot) -> list[Evidence]:
    """Returns what speaks for or against a lost failure of `actor` below `parent`."""
    out = []
    if not case.execution.root_failed and case.root is not None:
        out.append(
            supports(
                "proc.exit_masked.reported_success",
                SOME,
                "The task was reported as a success.",
                ends(case.root),
            )
        )
    reader = _piped_to(case, actor)
    if reader is not None:
        text = (
            f"It wrote to a pipe that {reader.who} read. That process exited with status "
            "0, which became the status of the whole pipeline."
        )
        out.append(supports("proc.exit_masked.pipeline_status", SOME, text, ends(reader)))
    if actor.exit_severity is ExitSeverity.LOST_WORK:
        out.append(
            supports("proc.exit_masked.work_lost", SLIGHT, "Its work was lost.", ends(actor))
        )
    elif actor.execs and _lived_ns(actor) > LONG_NS:
        out.append(
            supports(
                "proc.exit_masked.was_no_check",
                SLIGHT,
                (
                    "It had been running for "
                    f"{(actor.end_ns - actor.start_ns) / 1e9:.1f} s, so it was "
                    "not a short check."
                ),
                ends(actor),
            )
        )
    known = failed_with_it(case, actor)
    if known is not None:
        after = (known.end_ns - actor.end_ns) / 1e9
        text = f"{known.who} {known.end.words}, too, {after:.2f} s later."
        out.append(contradicts("proc.exit_masked.failed_later", CLEAR, text, ends(known)))
    if _keeps_its_own_record(case, parent):
        system = parent.execution.identity.system
        text = (
            f"{parent.who} supervises a task of {system}. It always exits with status 0, "
            f"because {system} records the result itself."
        )
        out.append(contradicts("proc.exit_masked.is_supervisor", STRONG, text, ends(parent)))
    return out


def _keeps_its_own_record(case: Case, actor: ProcessSnapshot) -> bool:
    """Whether the process holds a task of an orchestrator.

    Nothing reads its exit status; the orchestrator keeps its own record.
    """
    identity, above = actor.execution.identity, case.get(actor.parent)
    return (
        identity.unreliable_exit_status
        and identity.type == "task"
        and (above is None or above.execution is not actor.execution)
    )


def _lost_in_a_pipe(case: Case, actor: ProcessSnapshot, parent: ProcessSnapshot) -> bool:
    """Whether a failure in a pipe was lost because the shell lacks `pipefail`.

    It failed before the last command, which succeeded. The shell then started other processes, or
    it returned another exit status.
    """
    last = case.children(parent)[-1]
    went_on = parent.end.code != actor.end.code or last.start_ns > actor.end_ns
    return shells(parent) and went_on and _piped_to(case, actor) is not None


def _answered(actor: ProcessSnapshot) -> bool:
    """Whether a helper was stopped by its script, or a short command answered with status 1."""
    return actor.exit_severity is ExitSeverity.STOPPED or (
        actor.end.code == 1 and _lived_ns(actor) < 20_000_000 and bool(actor.execs)
    )


def _lived_ns(actor: ProcessSnapshot) -> int:
    """Its life without the time on a run queue: on a busy host, the shortest one lives for long.

    Several threads wait for longer than their process lives.
    """
    lived = actor.end_ns - actor.start_ns
    if actor.exit is None:
        return lived
    return max(lived - actor.exit.run_delay_ns, min(lived, actor.exit.cpu_runtime_ns))


def _piped_to(case: Case, actor: ProcessSnapshot) -> ProcessSnapshot | None:
    parent = case.get(actor.parent)
    for other in case.children(parent) if parent is not None else ():
        if (
            other is not actor
            and other.stdin_inode
            and other.stdin_inode == actor.stdout_inode
            and not other.failed
        ):
            return other
    return None


CARD = cause_class(
    name="proc.exit_masked",
    title="a failure was not passed on, so the task looks successful",
    predicts="a failed child below a parent that reported success",
    rivals="kill.swallowed proc.sigpipe",
    may_be_remote=True,
    tag="pass_failures_on",
    fix=(
        "Use `set -euo pipefail` (or check PIPESTATUS or the return code), so that "
        "the failure fails the task."
    ),
    nature=Nature.FACET,
    find=(masked,),
)
