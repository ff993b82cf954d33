"""Transports on this machine: a file of OTLP/JSON lines, and the terminal."""

from __future__ import annotations

import sys
from typing import BinaryIO

from receiver.export.options import SignalName
from receiver.export.otlp_json import to_json
from receiver.export.outcome import Accepted, Outcome, Permanent


class JsonLines:
    """One Export*ServiceRequest per line, in the format of the Collector's file exporter and
    otlpjsonfile receiver.
    """

    def __init__(self, signal: SignalName, output: BinaryIO) -> None:
        self._signal = signal
        self._output = output
        to_json(
            signal, b""
        )  # imports its modules now: the user that the service becomes may not be able to read them

    async def send(self, body: bytes) -> Outcome:
        try:
            self._output.write(to_json(self._signal, body) + b"\n")
            self._output.flush()
        except OSError as error:
            return Permanent("file", error.strerror or "write failed")
        return Accepted()

    async def close(self) -> None:
        """Does not close the output: its opener does, because three signals may share it."""


class Console(JsonLines):
    def __init__(self, signal: SignalName) -> None:
        super().__init__(signal, sys.stdout.buffer)
