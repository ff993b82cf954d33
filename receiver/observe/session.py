"""The only entrance to the core: a replay gives it the same inputs as the live run, in the same
order and through the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from receiver.errors import DataError
from receiver.events import TIME_LIMIT_NS, ProcessKey
from receiver.facts.losses import Losses, LossesByUser
from receiver.kernel.decode import split
from receiver.model import Blind, ContainerName, Watch
from receiver.observe.core import Core
from receiver.observe.recording import Frame, FrameKind, Recorder, Recording


class Session:
    """Feeds a core, and a recorder when there is one.

    Each input is recorded before the core sees it.
    """

    def __init__(self, core: Core, recorder: Recorder | None = None) -> None:
        self.core = core
        self._recorder = recorder

    def batch(self, batch: list[bytes], read_at_ns: int) -> None:
        if self._recorder:
            self._recorder.batch(batch, read_at_ns)
        self.core.feed(batch, read_at_ns)

    def tick(self, now_ns: int) -> None:
        self._note(FrameKind.TICK, now_ns)
        self.core.tick(now_ns)

    def wall_offset(self, offset_ns: int, now_ns: int) -> None:
        self._note(FrameKind.WALL_OFFSET, now_ns, offset_ns.to_bytes(8, "little", signed=True))
        self.core.set_wall_offset(offset_ns, now_ns)

    def watch(self, watch: Watch, now_ns: int) -> None:
        if self._recorder:
            self._recorder.watch(watch, now_ns)
        self.core.watch(watch)

    def losses(self, losses: Losses, now_ns: int, by_user: LossesByUser | None = None) -> None:
        """Totals since the start; `by_user`: of the losses that concern one user only."""
        rows: list[tuple[str | int, ...]] = [(*key, total) for key, total in losses.items()]
        rows += [(kind, reason, n, user) for (kind, reason, user), n in (by_user or {}).items()]
        self._note(FrameKind.LOSSES, now_ns, msgspec.json.encode(rows))
        self.core.note_losses(losses, now_ns, by_user)

    def vanished(self, keys: Iterable[ProcessKey], now_ns: int) -> None:
        gone = list(keys)
        self._note(
            FrameKind.VANISHED,
            now_ns,
            msgspec.json.encode([[k.tgid, k.start_boottime_ns] for k in gone]),
        )
        self.core.vanished(gone, now_ns)

    def containers(self, names: tuple[ContainerName, ...], now_ns: int) -> None:
        if self._recorder:
            self._recorder.containers(names, now_ns)
        self.core.blocks.name_containers(names)

    def blind(self, times: list[Blind], now_ns: int) -> None:
        self._note(FrameKind.BLIND, now_ns, msgspec.json.encode(times))
        for each in times:
            self.core.note_blind(each, now_ns)

    def finish(self, now_ns: int) -> None:
        self._note(FrameKind.FINISH, now_ns)
        self.core.finish(now_ns)

    def _note(self, kind: FrameKind, now_ns: int, payload: bytes = b"") -> None:
        if self._recorder:
            self._recorder.write(kind, now_ns, payload)


class _LossRow(msgspec.Struct, array_like=True):
    """A row of a frame of losses. Recordings of earlier versions have no users."""

    kind: str
    reason: str
    total: int
    user: int | None = None


def replay_frame(session: Session, frame: Frame) -> None:
    """Applies one frame. Raises DataError for a frame that cannot be read."""
    now = frame.time_ns
    try:
        if not 0 <= now < TIME_LIMIT_NS:
            raise ValueError
        match frame.kind:
            case FrameKind.BATCH:
                session.batch(split(frame.payload), now)
            case FrameKind.TICK:
                session.tick(now)
            case FrameKind.WALL_OFFSET:
                offset = int.from_bytes(frame.payload, "little", signed=True)
                if abs(offset) >= TIME_LIMIT_NS:
                    raise ValueError
                session.wall_offset(offset, now)
            case FrameKind.WATCH:
                session.watch(msgspec.json.decode(frame.payload, type=Watch), now)
            case FrameKind.LOSSES:
                rows = msgspec.json.decode(frame.payload, type=list[_LossRow])
                session.losses(
                    {(row.kind, row.reason): row.total for row in rows if row.user is None},
                    now,
                    {
                        (row.kind, row.reason, row.user): row.total
                        for row in rows
                        if row.user is not None
                    },
                )
            case FrameKind.VANISHED:
                pairs = msgspec.json.decode(frame.payload, type=list[tuple[int, int]])
                session.vanished([ProcessKey(*pair) for pair in pairs], now)
            case FrameKind.CONTAINERS:
                session.containers(
                    msgspec.json.decode(frame.payload, type=tuple[ContainerName, ...]), now
                )
            case FrameKind.BLIND:
                session.blind(msgspec.json.decode(frame.payload, type=list[Blind]), now)
            case FrameKind.FINISH:
                session.finish(now)
            case _:
                raise DataError(f"the recording holds a frame of unknown kind {frame.kind}")
    except (ValueError, RecursionError, OverflowError):
        raise DataError(f"the recording holds a damaged frame of kind {frame.kind}") from None


def replay(
    session: Session, recording: Recording, after_frame: Callable[[], None] | None = None
) -> None:
    """Replays the whole recording. One that was cut short is finished where it ends."""
    session.core.set_wall_offset(recording.header.wall_offset_ns)
    last, finished = 0, False
    for frame in recording:
        replay_frame(session, frame)
        if after_frame:
            after_frame()
        last, finished = max(last, frame.time_ns), frame.kind == FrameKind.FINISH
    if not finished:
        session.finish(last)
        if after_frame:
            after_frame()
