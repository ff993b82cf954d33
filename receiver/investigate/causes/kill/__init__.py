"""The cause cards of signals."""

from __future__ import annotations

from receiver.investigate.cards import CauseClass
from receiver.investigate.causes.kill import (
    container_stopped,
    drain,
    hangup,
    heartbeat,
    ignored_request,
    namespace_init,
    parent_death,
    probe,
    supervisor,
    swallowed,
    timeout_orphan,
)

CARDS: tuple[CauseClass, ...] = (
    container_stopped.CARD,
    drain.CARD,
    hangup.CARD,
    heartbeat.CARD,
    ignored_request.CARD,
    namespace_init.CARD,
    parent_death.CARD,
    probe.CARD,
    supervisor.CARD,
    swallowed.CARD,
    timeout_orphan.CARD,
)
