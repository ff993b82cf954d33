"""The cause card kill.probe."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.kills import kills

CARD = cause_class(
    name="kill.probe",
    title="a health probe that was too slow caused its restart",
    predicts="probes that were ended at the same age several times",
    rivals="kill.drain kill.supervisor kill.heartbeat",
    tag="cheaper_probe",
    fix="Make the probe cheaper or its timeout longer: the process itself was working.",
    visible="P",
    brings=(
        to("fs.truncated", Via.SAME),
        to("kill.supervisor kill.drain kill.timeout_orphan kill.namespace_init", Via.SIGNAL),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
    ),
    find=(kills,),
)
