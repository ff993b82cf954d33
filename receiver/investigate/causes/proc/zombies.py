"""The cause card proc.zombies."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.ends import refused_clones

CARD = cause_class(
    name="proc.zombies",
    title="ended children were not reaped, until no process could be created",
    predicts="many ended children of one parent",
    rivals="lim.pids",
    tag="reap_children",
    fix="Reap children (with an init such as tini as pid 1, or with wait()).",
    spreads=True,
    brings=(to("lim.pids", Via.SAME),),
    find=(refused_clones,),
)
