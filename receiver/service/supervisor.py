"""What a supervisor is told, by sd_notify(3): ready, a status line, alive at every interval that it asks for, stopping.

Without NOTIFY_SOCKET nothing is sent. The socket is kept open, because the path to it may not be ours once privileges are gone.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

log = logging.getLogger("kwitness")


class Supervisor:
    def __init__(self, environment: Mapping[str, str]) -> None:
        """Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID; an address that cannot be reached is said and left."""
        self._socket: socket.socket | None = None
        usec = environment.get("WATCHDOG_USEC", "")
        mine = environment.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        self.watchdog_seconds = int(usec) / 1e6 if usec.isdigit() and mine else 0.0
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return
        try:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._socket.setblocking(False)
            self._socket.connect("\0" + address[1:] if address.startswith("@") else address)
        except OSError as error:
            log.warning("the supervisor at %s cannot be told: %s", address, error.strerror)
            self.close()

    def say(self, *lines: str) -> None:
        """`READY=1`, `WATCHDOG=1`, `STOPPING=1`, `STATUS=…`. A supervisor that does not listen must not stop us."""
        if self._socket is None:
            return
        try:
            self._socket.send("\n".join(lines).encode())
        except OSError as error:
            log.debug("the supervisor was not told: %s", error)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
