"""The two ends of a connection, and a call that was refused."""

from __future__ import annotations

import errno
from typing import Any

from receiver.events import (
    CallFailed,
    CallKind,
    Connection,
    ConnectionFlag,
    ConnectionStage,
    ProcessKey,
)
from tests.builders import Story

SERVER = int.from_bytes(bytes([10, 0, 0, 5]), "little")


def link(story: Story, key: ProcessKey, stage: ConnectionStage, **other: Any) -> None:
    story.fact(
        Connection,
        key,
        **(
            {
                "connection_id": 9,
                "stage": stage,
                "family": 2,
                "peer_low": SERVER,
                "peer_port": 5000,
                "established_boottime_ns": 1000,
            }
            | other
        ),
    )


def refused(story: Story, key: ProcessKey, call: CallKind, error: int, **other: Any) -> None:
    values = {"first_boottime_ns": story.now, "last_boottime_ns": story.now, "failures": 1}
    story.fact(CallFailed, key, call=call, error=error, call_number=1, **(values | other))


def accepts(story: Story, server: ProcessKey, port: int = 5000) -> None:
    """The server's end of a connection to 10.0.0.5."""
    link(
        story,
        server,
        ConnectionStage.CONNECTED,
        connection_id=10,
        local_low=SERVER,
        local_port=port,
        peer_port=40_000,
        connection_flags=int(ConnectionFlag.ACCEPTED),
    )


def resets(story: Story, client: ProcessKey) -> None:
    link(
        story,
        client,
        ConnectionStage.CLOSED,
        error=errno.ECONNRESET,
        sent_bytes=100,
        received_bytes=50,
        last_send_boottime_ns=story.now,
    )
