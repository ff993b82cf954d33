"""Notifies a supervisor by sd_notify(3): ready, a status line, a keep-alive at every interval it
asks for, stopping.

Without NOTIFY_SOCKET nothing is sent. The socket stays open, because its path may not be accessible
after privileges are dropped.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping

log = logging.getLogger("kwitness")


class Supervisor:
    def __init__(self, environment: Mapping[str, str]) -> None:
        """Reads NOTIFY_SOCKET. Logs an address that cannot be reached, and ignores it."""
        self._socket: socket.socket | None = None
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return
        try:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
            self._socket.connect("\0" + address[1:] if address.startswith("@") else address)
        except OSError as error:
            log.warning("cannot notify the supervisor at %s: %s", address, error.strerror)
            self.close()

    def say(self, *lines: str) -> None:
        """`READY=1`, `WATCHDOG=1`, `STOPPING=1`, `STATUS=…`.

        A supervisor that does not read must not stop the service.
        """
        if self._socket is None:
            return
        try:
            self._socket.send("\n".join(lines).encode())
        except OSError as error:
            log.debug("cannot notify the supervisor: %s", error)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
