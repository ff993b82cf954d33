"""The cause cards of connections and names."""

from __future__ import annotations

from receiver.investigate.cards import CauseClass
from receiver.investigate.causes.net import (
    backlog_refused,
    blackhole,
    credential,
    dns,
    idle_drop,
    mtu,
    pool,
    port_in_use,
    ports,
    reset_short,
    silent_peer,
)

CARDS: tuple[CauseClass, ...] = (
    backlog_refused.CARD,
    blackhole.CARD,
    credential.CARD,
    dns.CARD,
    idle_drop.CARD,
    mtu.CARD,
    pool.CARD,
    port_in_use.CARD,
    ports.CARD,
    reset_short.CARD,
    silent_peer.CARD,
)
