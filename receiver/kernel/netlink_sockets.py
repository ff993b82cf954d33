"""The sockets of the fallback source: pyroute2's, read without waiting.

pyroute2 makes the requests and decodes the messages. Its way of reading is replaced, because it
cannot be used here:

- Its classes read through asyncio. That queues messages without a limit, drops the sender's
  address, and closes the socket at the first overflow (ENOBUFS).
- `ProcEventSocket`, `TaskStats` and `DiagSocket` run an event loop of their own. A thread whose
  loop is running refuses that.

A `PolledSocket` reads what waits at the socket when it is asked. It accepts the kernel as the only
sender, and counts overflows and undecodable messages. `_Immediate` stands for the event loop.

Sources: netlink(7), sock_diag(7), pyroute2 0.9.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from receiver.errors import PrivilegeError, UnavailableError
from receiver.kernel import netlink_messages as messages
from receiver.kernel import netlink_pyroute2 as p
from receiver.units import MIB

_READ_BYTES = 1 << 16
_RECEIVE_BYTES = 8 * MIB
_SO_RCVBUFFORCE = 33
_HEADER_NAMES_LIMIT = 65_536


class _Immediate:
    """An event loop for coroutines that never wait, which all of a `PolledSocket` are."""

    def run_until_complete(self, awaitable: Awaitable[Any]) -> Any:
        try:
            next(awaitable.__await__())
        except StopIteration as done:
            return done.value
        raise RuntimeError("pyroute2 waits for something other than its socket")

    async def shutdown_asyncgens(self) -> None:
        return None

    def is_closed(self) -> bool:
        return False

    def stop(self, *_: Any) -> None:
        return None

    close = call_soon_threadsafe = stop


class PolledSocket(p.AsyncNetlinkSocket):
    """pyroute2's netlink socket, read at once or not at all."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"use_event_loop": _Immediate()})
        self.lost = 0  # overflows (each counts as one), and messages that pyroute2 cannot decode

    def setup_socket(self) -> socket.socket:
        found: socket.socket = super().setup_socket()
        with contextlib.suppress(OSError):  # without CAP_NET_ADMIN: pyroute2's size
            found.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
        return found

    async def setup_endpoint(self) -> None:
        """No transport of asyncio: see the module."""

    def _sync_bind(self, groups: int = 0, pid: int | None = None, **_: Any) -> None:
        # pyroute2 tries 180 ports, and answers each reason for a refusal with a KeyError
        self.socket.bind((pid or 0, groups))

    def receive(self) -> list[Any] | None:
        """The messages of the next datagram that the kernel sent. None: nothing waits."""
        while True:
            try:
                data, sender = self.socket.recvfrom(_READ_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.lost += 1  # the socket reports that it dropped, but not how many
                continue
            if sender[0] == 0:  # port 0 is the kernel: netlink(7)
                return self.decoded(data)

    def decoded(self, data: bytes) -> list[Any]:
        """The messages of a datagram; none, and a loss, if it is damaged."""
        if len(p.cache_hdr) > _HEADER_NAMES_LIMIT:
            p.cache_hdr.clear()  # pyroute2 keeps each attribute header that it has ever met
        try:
            messages.check_lengths(data)
            return list(self.marshal.parse(data))
        except Exception:  # pyroute2 has no closed set of errors for damaged messages
            self.lost += 1
            return []

    async def get(self, *_: Any, **__: Any) -> Any:
        """The messages that wait, up to the end of an answer.

        The kernel answers a request before `sendto` returns, and makes the rest of a long answer
        while it is read. So nothing has to be awaited.
        """
        while (found := self.receive()) is not None:
            for message in found:
                if error := message["header"].get("error"):
                    raise error
                if self.marshal.is_enough(message):
                    return
                yield message


class _PolledTaskStats(PolledSocket, p.AsyncTaskStats):
    pass


class Connector(p.ProcEventSocket):
    """The process connector: forks, execs, names and exits of the whole host."""

    async_class = PolledSocket

    def __init__(self) -> None:
        super().__init__()
        self.set_marshal(messages.ProcMarshal())
        self._early: list[Any] = []
        try:
            self.bind()
            # besides the answer these may already be events
            self._early = list(self.control(listen=True))
        except PermissionError:
            self.close()
            raise PrivilegeError("the process connector needs CAP_NET_ADMIN") from None
        except OSError as error:
            self.close()
            raise UnavailableError(
                f"this kernel has no process connector (CONFIG_PROC_EVENTS): {error.strerror}"
            ) from None

    @property
    def lost(self) -> int:
        return int(self.asyncore.lost)

    def receive(self) -> list[Any] | None:
        if self._early:
            early, self._early = self._early, []
            return early
        found: list[Any] | None = self.asyncore.receive()
        return found

    def ignore(self) -> None:
        """Asks for no more events. Those that wait can still be read."""
        with contextlib.suppress(OSError):
            self._early += self.control(listen=False)


class Accounting(p.TaskStats):
    """taskstats: the resources that each thread has used, at its end."""

    async_class = _PolledTaskStats

    def __init__(self) -> None:
        """Raises OSError if the kernel has no taskstats, or refuses it."""
        super().__init__()
        try:
            self.bind()
            # `bind` has chosen pyroute2's class of messages
            self.register_policy(self.prid, messages.StatsMessage)
            if not any(messages.usage(m) for m in self.get_pid_stat(os.getpid())):
                raise OSError(errno.EOPNOTSUPP, "taskstats before version 12 (Linux 5.18)")
            self.register_mask(Path("/sys/devices/system/cpu/possible").read_text().strip())
            self.get()  # a refusal is the only answer; threads that ended before now are not ours
        except p.NetlinkError as error:
            self.close()
            raise OSError(error.code, "taskstats") from None
        except BaseException:
            self.close()
            raise

    @property
    def lost(self) -> int:
        return int(self.asyncore.lost)

    def receive(self) -> list[Any] | None:
        found: list[Any] | None = self.asyncore.receive()
        return found


class Diagnosis(p.DiagSocket):
    """TCP connections of this network namespace, with an inode that is wanted."""

    async_class = PolledSocket

    def __init__(self, wanted: Callable[[int], bool]) -> None:
        super().__init__()
        self.set_marshal(messages.DiagMarshal(wanted))

    def connections(self) -> Iterator[Any]:
        """Those that are being opened or are open, as pyroute2's `inet_diag_msg`."""
        states = 1 << p.SS_ESTABLISHED | 1 << p.SS_SYN_SENT
        for family in (socket.AF_INET, socket.AF_INET6):
            yield from self.get_sock_stats(family=family, states=states)
