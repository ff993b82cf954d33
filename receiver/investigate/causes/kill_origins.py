"""Deaths by a signal that more than its sender explains: a container runtime that stopped the
container, the end of a pid namespace or of a parent, a terminal that closed, and a request to end
that was ignored.
"""

from __future__ import annotations

import signal
from collections import defaultdict
from collections.abc import Iterator

from receiver.events import ProcessKey, Signal, SignalFlag, SignalState
from receiver.investigate.case import Case
from receiver.investigate.causes.common import died_of, signal_facts
from receiver.investigate.causes.kill_context import (
    Named,
    ignored_before,
    runtime_of,
    signal_context,
    state_of,
)
from receiver.investigate.evidence import (
    CLEAR,
    SLIGHT,
    SOME,
    STRONG,
    Candidate,
    Culprit,
    Evidence,
    ends,
    fact,
    process_culprit,
    supports,
)
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import signal_name


def origins(case: Case) -> Iterator[Candidate]:
    """Finds the origin of each signal that ended a process, as far as the kernel half saw it."""
    ended_with: dict[ProcessKey, list[tuple[ProcessSnapshot, SignalState]]] = defaultdict(list)
    for actor in case:
        event = died_of(actor)
        state = state_of(actor, event) if event is not None else None
        if event is None or state is None or actor.oom is not None:
            continue
        flags = state.state_flags
        if flags & SignalFlag.NAMESPACE_ENDS:
            ended_with[state.sender].append((actor, state))
        elif flags & SignalFlag.PARENT_DEATH:
            yield _parent_death(case, actor, event, state)
        elif event.signal == signal.SIGHUP and event.code > 0:
            yield _hang_up(actor, event, state)
        elif runtime_of(state) is not None:
            yield _container_stopped(case, actor, event, state)
        elif ignored_before(actor, event.time_boottime_ns) is not None:
            yield from _ignored_request(case, actor, event)
    for members in ended_with.values():
        yield _namespace(case, members)


def _namespace(case: Case, members: list[tuple[ProcessSnapshot, SignalState]]) -> Candidate:
    members.sort(key=lambda pair: (pair[1].time_boottime_ns, pair[0].pid))
    first, state = next(((a, s) for a, s in members if a in case.path), members[0])
    init = case.get(state.sender)
    name = init.who if init is not None else f"{state.sender_comm} ({state.sender.tgid})"
    how = f": it {init.end.words}" if init is not None and init.exit is not None else ""
    rest = f" and {len(members) - 1} more" if len(members) > 1 else ""
    text = (
        f"{name}, the first process of its pid namespace, ended{how}. With it the kernel killed "
        f"the rest of the namespace: {first.who}{rest}."
    )
    shown = [*(fact(s) for _, s in members[:4]), *(ends(init) if init is not None else ())]
    culprit = Culprit(
        type="process",
        name=(init.script or init.name) if init is not None else state.sender_comm,
        pid=state.sender.tgid,
        start_boottime_ns=state.sender.start_boottime_ns,
    )
    return Candidate(
        cause="kill.namespace_init",
        culprit=culprit,
        summary=text,
        evidence=(supports("kill.namespace_init.first_ended", STRONG + SOME, text, shown),),
        subject=first.key,
        at_ns=state.time_boottime_ns,
    )


def _parent_death(
    case: Case, actor: ProcessSnapshot, event: Signal, state: SignalState
) -> Candidate:
    parent = case.get(state.sender)
    name = parent.who if parent is not None else f"{state.sender_comm} ({state.sender.tgid})"
    how = f": it {parent.end.words}" if parent is not None and parent.exit is not None else ""
    text = (
        f"{actor.who} had asked the kernel for {signal_name(event.signal)} at the end of its "
        f"parent (PR_SET_PDEATHSIG), and its parent {name} ended{how}."
    )
    shown = [fact(state), *(ends(parent) if parent is not None else ())]
    return Candidate(
        cause="kill.parent_death",
        culprit=_sender(case, state),
        summary=text,
        evidence=(
            supports("kill.parent_death.asked_for_it", STRONG + SOME, text, shown),
            *signal_context(case, actor, event),
        ),
        subject=actor.key,
        at_ns=event.time_boottime_ns,
    )


def _hang_up(actor: ProcessSnapshot, event: Signal, state: SignalState) -> Candidate:
    flags, who = state.state_flags, f"{state.sender_comm} ({state.sender.tgid})"
    why = f"its terminal was hung up while {who} ran"
    if flags & SignalFlag.SENDER_EXITS and flags & SignalFlag.SAME_SESSION:
        why = f"{who} ended, to whose session it belonged"
    text = f"The kernel sent SIGHUP to {actor.who}: {why}."
    culprit = Culprit(
        type="process",
        name=state.sender_comm,
        pid=state.sender.tgid,
        start_boottime_ns=state.sender.start_boottime_ns,
    )
    return Candidate(
        cause="kill.hangup",
        culprit=culprit,
        summary=text,
        evidence=(
            supports(
                "kill.hangup.by_kernel",
                STRONG + SOME,
                text,
                [*signal_facts(actor, event), fact(state)],
            ),
        ),
        subject=actor.key,
        at_ns=event.time_boottime_ns,
    )


def _container_stopped(
    case: Case, actor: ProcessSnapshot, event: Signal, state: SignalState
) -> Candidate:
    runtime = runtime_of(state)
    assert runtime is not None
    sender = f"{state.sender_comm} ({state.sender.tgid})"
    below = "" if runtime[0] == state.sender else f", below {_named(runtime)}"
    name = signal_name(event.signal)
    text = f"{sender}{below}, a container runtime, ended {actor.who} with {name}."
    evidence = [
        supports(
            "kill.container_stopped.by_runtime",
            STRONG,
            text,
            [*signal_facts(actor, event), fact(state)],
        )
    ]
    if state.state_flags & SignalFlag.TO_NAMESPACE_INIT:
        told = f"{actor.who} is the first process of its pid namespace: the container ends with it."
        evidence.append(supports("kill.container_stopped.first_process", SOME, told, [fact(state)]))
    evidence += _ignored(actor, event)
    evidence += signal_context(case, actor, event)
    return Candidate(
        cause="kill.container_stopped",
        culprit=_sender(case, state),
        summary=f"The container of {actor.who} was stopped from outside: {sender}{below} sent "
        f"{signal_name(event.signal)}.",
        evidence=tuple(evidence),
        subject=actor.key,
        at_ns=event.time_boottime_ns,
    )


def _ignored(actor: ProcessSnapshot, event: Signal) -> list[Evidence]:
    """Returns evidence that it had been asked to end before, and that it ignored that."""
    asked = ignored_before(actor, event.time_boottime_ns)
    if asked is None:
        return []
    later = (event.time_boottime_ns - asked.time_boottime_ns) / 1e9
    why = (
        "the first process of a pid namespace has no default action for it, and it had no handler"
        if asked.state_flags & SignalFlag.TO_NAMESPACE_INIT
        else "it had told the kernel to ignore it"
    )
    text = (
        f"{actor.who} had been sent {signal_name(asked.signal)} {later:.1f} s before, which had no "
        f"effect: {why}."
    )
    return [supports("kill.ignored_request.asked_before", CLEAR, text, [fact(asked)])]


def _ignored_request(case: Case, actor: ProcessSnapshot, event: Signal) -> Iterator[Candidate]:
    """A SIGKILL after a request to end that had no effect."""
    asked = _ignored(actor, event)
    if event.signal != signal.SIGKILL or event.code > 0 or not asked:
        return
    sender = f"{event.sender_comm} ({event.sender.tgid})"
    text = f"{sender} then killed it with SIGKILL."
    yield Candidate(
        cause="kill.ignored_request",
        culprit=process_culprit(actor),
        summary=f"{asked[0].text} {text}",
        evidence=(
            *asked,
            supports(
                "kill.ignored_request.then_killed", CLEAR + SLIGHT, text, signal_facts(actor, event)
            ),
            *signal_context(case, actor, event),
        ),
        subject=actor.key,
        at_ns=event.time_boottime_ns,
    )


def _sender(case: Case, state: SignalState) -> Culprit:
    known = case.get(state.sender)
    return Culprit(
        type="process",
        name=(known.script or known.name) if known is not None else state.sender_comm,
        pid=state.sender.tgid,
        start_boottime_ns=state.sender.start_boottime_ns,
        signal=signal_name(state.signal),
    )


def _named(named: Named) -> str:
    return f"{named[1]} ({named[0].tgid})"
