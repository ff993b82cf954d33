"""Replays a recording: the same inputs through the same session."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from receiver.errors import DataError
from receiver.events import TIME_LIMIT_NS, ProcessKey
from receiver.investigate.alerts import AlertQuery
from receiver.investigate.entries import Used
from receiver.investigate.history import History
from receiver.investigate.report import CrashLine
from receiver.kernel.decode import split
from receiver.model import Blind, ContainerName, Gap, Unseen, Watch
from receiver.observe.core import Core
from receiver.observe.recording import Frame, FrameKind, Header, Recording, Settings
from receiver.observe.session import Session
from receiver.signals import MetricSnapshot

Apply = Callable[[Session, bytes, int], object]


def core_of(header: Header, settings: Settings | None = None, *, explain: bool = False) -> Core:
    """A core with the recorded settings, or with others. Version 2 recorded none."""
    chosen = settings or header.settings
    if chosen is None:
        return Core(header.host, explain=explain)
    return Core(header.host, chosen.options, chosen.rules, explain=explain)


def replay_frame(session: Session, frame: Frame) -> MetricSnapshot | None:
    """Applies one frame. Returns the metrics if they were exported at this point.

    Raises DataError for a frame that cannot be read.
    """
    apply = _INPUTS.get(frame.kind)
    if apply is None:
        raise DataError(f"the recording holds a frame of unknown kind {frame.kind}")
    try:
        if not 0 <= frame.time_ns < TIME_LIMIT_NS:
            raise ValueError
        found = apply(session, frame.payload, frame.time_ns)
    except (ValueError, RecursionError, OverflowError):
        raise DataError(f"the recording holds a damaged frame of kind {frame.kind}") from None
    return found if isinstance(found, MetricSnapshot) else None


def replay(session: Session, recording: Recording) -> None:
    """Replays the whole recording."""
    for _ in steps(session, recording):
        pass


def steps(
    session: Session, recording: Recording, *, other_history: bool = False
) -> Iterator[MetricSnapshot | None]:
    """Replays frame by frame. Yields after each one, with the metrics if it exported them.

    A recording that was cut short is finished where it ends. `other_history`: the core has a
    history of its own, and the recorded one is left out.
    """
    session.core.set_wall_offset(recording.header.wall_offset_ns)
    last, finished = 0, False
    for frame in used_first(recording):
        if other_history and frame.kind in OF_HISTORY:
            continue
        snapshot = replay_frame(session, frame)
        session.core.members.to_watch()  # nothing is attached here; the list must not grow
        last, finished = max(last, frame.time_ns), finished or frame.kind == FrameKind.FINISH
        yield snapshot
    if not finished:
        session.finish(last)
        yield None


def used_first(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Moves the used entries of the history before the input that used them."""
    held: Frame | None = None
    for frame in frames:
        if frame.kind == FrameKind.USED:
            yield frame
            continue
        if held is not None:
            yield held
        held = frame
    if held is not None:
        yield held


def _as(kind: Any, apply: Callable[[Session, Any, int], object]) -> Apply:
    """An input with a JSON payload of this type."""
    decoder = msgspec.json.Decoder(kind)
    return lambda session, payload, now: apply(session, decoder.decode(payload), now)


def _wall_offset(session: Session, payload: bytes, now: int) -> None:
    offset = int.from_bytes(payload, "little", signed=True)
    if abs(offset) >= TIME_LIMIT_NS:
        raise ValueError
    session.wall_offset(offset, now)


def _passed(session: Session, payload: bytes, _: int) -> None:
    if len(payload) % 8:
        raise ValueError
    times = struct.unpack(f"<{len(payload) // 8}q", payload)
    if any(not 0 <= at_ns < TIME_LIMIT_NS for at_ns in times):
        raise ValueError
    session.passed(times)


class _LossRow(msgspec.Struct, array_like=True):
    """A row of a frame of losses. Recordings of earlier versions have no users."""

    kind: str
    reason: str
    total: int
    user: int | None = None


def _losses(session: Session, rows: list[_LossRow], now: int) -> None:
    session.losses(
        {(row.kind, row.reason): row.total for row in rows if row.user is None},
        now,
        {(row.kind, row.reason, row.user): row.total for row in rows if row.user is not None},
    )


def _vanished(session: Session, pairs: list[tuple[int, int]], now: int) -> None:
    session.vanished([ProcessKey(*pair) for pair in pairs], now)


def _restore(session: Session, used: Used, _: int) -> None:
    if session.core.history is not None:
        session.core.history.restore(used)


def _operator_note(session: Session, pair: tuple[str, str], now: int) -> None:
    signature, text = pair
    session.note(signature, text, now)


def _functions(session: Session, pair: tuple[str, tuple[CrashLine, ...]], now: int) -> None:
    incident_id, crashes = pair
    session.functions(incident_id, crashes, now)


def _metrics(session: Session, exported: bool, now: int) -> MetricSnapshot | None:
    snapshot = session.metrics(now, exported=exported)
    return snapshot if exported else None


def _unseen(session: Session, parts: tuple[Unseen | str, ...], now: int) -> None:
    """Recordings of version 2 and older ones of version 3 have the texts alone."""
    session.unseen(tuple(Unseen(p) if isinstance(p, str) else p for p in parts), now)


OF_HISTORY = (FrameKind.HISTORY, FrameKind.USED, FrameKind.NOTE)
_INPUTS: dict[int, Apply] = {
    FrameKind.BATCH: lambda session, payload, now: session.batch(split(payload), now),
    FrameKind.TICK: lambda session, _, now: session.tick(now),
    FrameKind.WALL_OFFSET: _wall_offset,
    FrameKind.WATCH: _as(Watch, Session.watch),
    FrameKind.LOSSES: _as(list[_LossRow], _losses),
    FrameKind.VANISHED: _as(list[tuple[int, int]], _vanished),
    FrameKind.FINISH: lambda session, _, now: session.finish(now),
    FrameKind.CONTAINERS: _as(tuple[ContainerName, ...], Session.containers),
    FrameKind.BLIND: _as(list[Blind], Session.blind),
    FrameKind.UNSEEN: _as(tuple[Unseen | str, ...], _unseen),
    FrameKind.GAP: _as(Gap, Session.resumed),
    FrameKind.ALERT: _as(AlertQuery, Session.alert),
    FrameKind.HISTORY: lambda session, _, now: session.history(History(), now),
    FrameKind.USED: _as(Used, _restore),
    FrameKind.NOTE: _as(tuple[str, str], _operator_note),
    FrameKind.METRICS: _as(bool, _metrics),
    FrameKind.PASSED: _passed,
    FrameKind.FUNCTIONS: _as(tuple[str, tuple[CrashLine, ...]], _functions),
}
