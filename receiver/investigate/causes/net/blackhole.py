"""The cause card net.blackhole."""

from __future__ import annotations

from receiver.investigate.cards import cause_class
from receiver.investigate.causes.network import unreachable

CARD = cause_class(
    name="net.blackhole",
    title="packets to a peer are lost",
    predicts="SYNs without an answer",
    rivals="net.backlog_refused net.dns net.silent_peer",
    may_be_remote=True,
    tag="open_the_way",
    fix="Allow the traffic (security group, route, firewall), and set a connect timeout.",
    needs="connection",
    find=(unreachable,),
)
