"""What every exporter's connection can do."""

from __future__ import annotations

from typing import Protocol

from receiver.export.outcome import Outcome


class Transport(Protocol):
    """Sends one encoded request. `send` never raises because of a server or a network."""

    async def send(self, body: bytes) -> Outcome: ...

    async def close(self) -> None: ...
