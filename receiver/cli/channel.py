"""The observer's end of the socket pair to the launcher of `kwitness run`, and the observer's
answers to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections import deque
from pathlib import Path

from receiver.cli.observation import MESSAGE_BYTES
from receiver.cli.status import Status
from receiver.errors import DecodeError
from receiver.events import EventKind, Signal
from receiver.kernel.clock import boottime_ns
from receiver.kernel.decode import decode
from receiver.kernel.source_config import Batch
from receiver.service.app import Observer
from receiver.text.redact import Redactor
from receiver.units import SECOND

STOPPED_SECONDS = 0.2  # how often a stopped command is checked
EVIDENCE_SECONDS = (
    0.13  # longer than the drain interval, and than a sender takes to signal a whole group
)
EVIDENCE_AGE_NS = SECOND
KEPT_SIGNALS = 64
_KIND = slice(22, 24)  # record_kind of struct event_header


class Channel:
    """Words separated by spaces, one message at a time."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection

    def tell(self, *words: object) -> None:
        with contextlib.suppress(OSError):
            text = " ".join(map(str, words))
            self._connection.send(text.encode(errors="replace")[:MESSAGE_BYTES])

    async def hear(self) -> list[str]:
        """The next message; empty when the launcher has ended."""
        loop = asyncio.get_running_loop()
        try:
            return (await loop.sock_recv(self._connection, MESSAGE_BYTES)).decode().split()
        except OSError:
            return []


class CommandSignals:
    """The last signals that the command received, as the kernel reported them.

    Bounded: at KEPT_SIGNALS the oldest is dropped.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._redactor = Redactor("strip")
        self._seen: deque[Signal] = deque(maxlen=KEPT_SIGNALS)

    def note(self, batch: Batch) -> None:
        for raw in batch:
            if int.from_bytes(raw[_KIND], "little") != EventKind.SIGNAL:
                continue
            with contextlib.suppress(DecodeError):  # counted by the core
                event = decode(raw, self._redactor)
                if isinstance(event, Signal):
                    self._seen.append(event)

    async def reached(self, command: int, number: int, sender: int) -> bool:
        """Whether the command received this signal from the same sender.

        Each event is used for one answer.
        """
        execution = self._observer.core.watched(command)
        by_sender = (
            not self._observer.source.namespace
        )  # in a pid namespace, events have the host's pids
        deadline = boottime_ns() + int(EVIDENCE_SECONDS * 1e9)
        while execution is not None:
            now = boottime_ns()
            for event in self._seen:
                same = event.signal == number and event.target == execution.root.key
                if by_sender and event.sender.tgid != sender:
                    continue
                if same and now - event.time_boottime_ns < EVIDENCE_AGE_NS:
                    self._seen.remove(event)
                    return True
            if now > deadline:
                return False
            await asyncio.sleep(0.01)
        return False


async def follow(
    channel: Channel, signals: CommandSignals, command: int, status: Status | None = None
) -> bool:
    """Answers the launcher until the command has ended.

    False: it never started, because its exec failed.
    """
    stopped: asyncio.Task[None] | None = None
    try:
        while True:
            match await channel.hear():
                case ["ended"]:
                    return True
                case ["failed"]:
                    return False
                case ["signal", question, number, sender]:
                    reached = await signals.reached(command, int(number), int(sender))
                    channel.tell(question, "yes" if reached else "no")
                case ["stopped"]:
                    if status is not None:
                        status.hold()
                    channel.tell("restored")
                    stopped = asyncio.create_task(_continue_launcher(command))
                case ["continued"] if stopped is not None:
                    stopped.cancel()
                    if status is not None:
                        status.release()
                case []:  # the launcher was killed: the command and the observer continue
                    await _end_of(command)
                    return True
    finally:
        if stopped is not None:
            stopped.cancel()


async def _continue_launcher(command: int) -> None:
    """The launcher stopped because the command had stopped.

    A shell continues both. If only the command is continued or killed, this continues the launcher.
    """
    while True:
        await asyncio.sleep(STOPPED_SECONDS)
        if not _is_stopped(command):
            break
    with contextlib.suppress(OSError):
        os.kill(os.getppid(), signal.SIGCONT)


def _is_stopped(pid: int) -> bool:
    """By the third field of /proc/PID/stat, proc(5)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b")")[2].split()[0] in (b"T", b"t")


async def _end_of(pid: int) -> None:
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(handle, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)
