"""What tests of connections ask of a watched process."""

from __future__ import annotations

from receiver.events import (
    Connection,
)
from receiver.kernel.decode import decode
from receiver.text.names import address_of
from receiver.text.redact import Redactor
from tests.live.conftest import Watched


def peer(event: Connection) -> tuple[str, int]:
    return address_of(event.family, event.peer_high, event.peer_low), event.peer_port


def sample(watched: Watched, pid: int) -> list[Connection]:
    found = [decode(raw, Redactor("off")) for raw in watched.witness.source.sample()]
    return [e for e in found if isinstance(e, Connection) and e.process.tgid == pid]
