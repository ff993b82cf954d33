"""The privileged half: forked before the drop, it attaches and detaches what is needed only at times, and nothing else.

It holds the loaded programs and CAP_BPF and CAP_PERFMON (or the CAP_SYS_ADMIN that stands for both). It reads single bytes from
one socket (attach, detach) and answers each with one; it parses nothing, opens nothing, and ends when the socket does.
"""

from __future__ import annotations

import os
import signal
import socket

from receiver.kernel.confinement import Confinement
from receiver.kernel.privileges import keep_what_attaches
from receiver.kernel.probes import Probes

_ON, _OFF, _DONE, _FAILED = b"A", b"D", b"+", b"-"
_ANSWER_SECONDS = 5.0


class Helper:
    """Our end of it."""

    def __init__(self, probes: Probes, confinement: Confinement | None = None) -> None:
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            _serve(theirs, probes, confinement)
        theirs.close()
        ours.settimeout(_ANSWER_SECONDS)
        self._socket = ours

    def switch(self, on: bool) -> bool:
        """Gives whether system calls are hooked now."""
        try:
            self._socket.sendall(_ON if on else _OFF)
            return self._socket.recv(1) == _DONE if on else False
        except OSError:
            return False

    def close(self) -> None:
        """Ends it, and waits for it."""
        self._socket.close()
        os.waitpid(self.pid, 0)


def _serve(commands: socket.socket, probes: Probes, confinement: Confinement | None) -> None:
    """Never returns."""
    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # a terminal's Ctrl-C is the parent's to handle; the socket ends us
        probes.library.rename_self(b"kwitness-attach")
        if confinement is not None:
            confinement.helper()
        else:
            keep_what_attaches()
        while command := commands.recv(1):
            if command == _ON:
                probes.attach_calls()
                commands.sendall(_DONE if probes.calls_attached else _FAILED)
            else:
                probes.detach_calls()
                commands.sendall(_DONE)
        status = 0
    finally:
        os._exit(status)
