"""The cause card net.reset_short."""

from __future__ import annotations

from receiver.investigate.cards import cause_class
from receiver.investigate.causes.broken import broken, short_answers

CARD = cause_class(
    name="net.reset_short",
    title="a peer broke the connection before its end",
    predicts="a reset by the peer",
    rivals="mem.child_oom net.idle_drop net.backlog_refused",
    may_be_remote=True,
    tag="retry_and_check_peer",
    fix=(
        "Find out why the peer closed the connection. Retry idempotent requests, and check lengths."
    ),
    needs="connection",
    find=(
        broken,
        short_answers,
    ),
)
