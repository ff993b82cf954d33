"""The cause card kill.hangup."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.kill_origins import origins

CARD = cause_class(
    name="kill.hangup",
    title="its terminal or its session ended",
    predicts="a SIGHUP by the kernel",
    rivals="kill.supervisor kill.parent_death",
    tag="detach_from_terminal",
    fix="Start it without a terminal: nohup, setsid, a service manager, or a scheduler.",
    needs="signal_state signal",
    brings=(
        to("fs.truncated", Via.SAME),
        to("kill.supervisor kill.drain kill.timeout_orphan kill.namespace_init", Via.SIGNAL),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
    ),
    find=(origins,),
)
