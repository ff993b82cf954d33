"""What the target of a signal was doing when it came, and who its sender is."""

from __future__ import annotations

from receiver.calls import call_name
from receiver.events import ProcessKey, Signal, SignalFlag, SignalState, WaitObject
from receiver.investigate.case import Case
from receiver.investigate.evidence import Evidence, context, fact
from receiver.investigate.snapshot import ProcessSnapshot
from receiver.text.names import address_of, mib, signal_name
from receiver.units import SECOND

_SAME_NS = SECOND // 10  # the two events of one signal are this close
_CALLS = 1 << 16
# Programs that run containers. Each `runc kill` is a process of its own, below a shim.
_RUNTIMES = ("runc", "crun", "youki", "containerd", "conmon", "dockerd", "podman", "crio")

Named = tuple[ProcessKey, str]


def state_of(actor: ProcessSnapshot, event: Signal) -> SignalState | None:
    """Returns what the kernel half saw at this signal, if it looked."""
    near = [
        s
        for s in actor.moments.received
        if s.signal == event.signal
        and s.sender == event.sender
        and abs(s.time_boottime_ns - event.time_boottime_ns) < _SAME_NS
    ]
    return min(near, key=lambda s: abs(s.time_boottime_ns - event.time_boottime_ns), default=None)


def belongs(case: Case, actor: ProcessSnapshot, event: Signal) -> bool:
    """Whether the sender is known to be a process of this run.

    The report only counts short processes, such as kill(1). Their parents tell where they belong.
    """
    state = state_of(actor, event)
    line = line_of(state) if state is not None else ()
    return any(key in case.actors for key in (event.sender, *(key for key, _ in line)))


def is_stranger(case: Case, actor: ProcessSnapshot, event: Signal) -> bool:
    """Whether the sender is known to be no process of this run."""
    state = state_of(actor, event)
    known = not case.left_out or (state is not None and state.sender_parent.tgid > 0)
    return known and not belongs(case, actor, event)


def ignored_before(actor: ProcessSnapshot, until_ns: int) -> SignalState | None:
    """Returns the first request to end that the process ignored before this time."""
    return next(
        (
            s
            for s in actor.moments.received
            if s.state_flags & SignalFlag.IGNORED and s.time_boottime_ns < until_ns
        ),
        None,
    )


def line_of(state: SignalState) -> tuple[Named, ...]:
    """Returns the sender, its parent and the parent of that one."""
    return (
        (state.sender, state.sender_comm),
        (state.sender_parent, state.parent_comm),
        (state.sender_grandparent, state.grandparent_comm),
    )


def runtime_of(state: SignalState) -> Named | None:
    """Returns the container runtime that the sender is, or belongs to."""
    return next(((k, c) for k, c in line_of(state) if c.startswith(_RUNTIMES)), None)


def waited_for(state: SignalState) -> str:
    """Describes the system call that the target was in, as a part of a sentence."""
    if state.call_number >= _CALLS:
        return "it ran, or had just been woken" if state.on_cpu else ""
    call = call_name(state.call_number)
    match state.waits_on:
        case WaitObject.PIPE:
            return f"it was in {call} at a pipe (inode {state.inode})"
        case WaitObject.SOCKET if state.family and state.port:
            address = address_of(state.family, state.address_high, state.address_low)
            return f"it was in {call} at a socket to {address}:{state.port}"
        case WaitObject.SOCKET:
            return f"it was in {call} at a socket (inode {state.inode})"
        case WaitObject.FILE:
            return f"it was in {call} at a file (inode {state.inode})"
    if state.inode and call == "futex":
        return f"it was in futex, at a lock in shared memory (inode {state.inode})"
    return f"it was in {call}"


def signal_context(case: Case, actor: ProcessSnapshot, event: Signal) -> list[Evidence]:
    """Returns what the target was doing, and the parents of the sender, as context."""
    state = state_of(actor, event)
    if state is None:
        return []
    doing = waited_for(state)
    held = mib(state.anon_bytes + state.file_bytes + state.shmem_bytes)
    used = f"it had used {state.runtime_ns / SECOND:.2f} s of CPU and held {held}"
    text = f"When {signal_name(event.signal)} came to {actor.who}, {doing + ';' if doing else ''}"
    return [
        context("kill.target.state", f"{text} {used}.".replace("  ", " "), [fact(state)]),
        *_sender(case, actor, state, event),
    ]


def _sender(
    case: Case, actor: ProcessSnapshot, state: SignalState, event: Signal
) -> list[Evidence]:
    (_, name), *parents = line_of(state)
    who = f"{name} ({state.sender.tgid})"
    if event.code <= 0 and state.state_flags & SignalFlag.WITHOUT_CALL:
        text = (
            f"No process sent it by kill(2): the kernel sent it while {who} ran, as a write to "
            "cgroup.kill makes it do."
        )
        return [context("kill.sender.is_kernel", text, [fact(state)])]
    if event.code > 0 or case.get(state.sender) is not None or belongs(case, actor, event):
        return []
    known = [f"{comm} ({key.tgid})" for key, comm in parents if key.tgid]
    text = f"{who} is not part of this run. It ran below {', below '.join(known)}."
    return [context("kill.sender.outside", text, [fact(state)])] if known else []
