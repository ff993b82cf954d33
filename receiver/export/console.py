"""Transports that end on this machine: a file of OTLP/JSON lines, and a terminal."""

from __future__ import annotations

import sys
from typing import BinaryIO

from receiver.export.otlp_json import to_json
from receiver.export.outcome import Accepted, Outcome, Permanent
from receiver.export.settings import SignalName


class JsonLines:
    """One Export*ServiceRequest a line: what the Collector's file exporter writes and its otlpjsonfile receiver reads."""

    def __init__(self, signal: SignalName, output: BinaryIO) -> None:
        self._signal = signal
        self._output = output
        to_json(
            signal, b""
        )  # imports what it needs now: the user that a service becomes may not be able to read it

    async def send(self, body: bytes) -> Outcome:
        try:
            self._output.write(to_json(self._signal, body) + b"\n")
            self._output.flush()
        except OSError as error:
            return Permanent("file", error.strerror or "write failed")
        return Accepted()

    async def close(self) -> None:
        """The output belongs to whoever opened it: three signals may share it."""


class Console(JsonLines):
    def __init__(self, signal: SignalName) -> None:
        super().__init__(signal, sys.stdout.buffer)
