"""The cause card crash.abort_ill."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.ends import crashes

CARD = cause_class(
    name="crash.abort_ill",
    title="it aborted itself, or used an instruction that this CPU does not have",
    predicts="a SIGABRT, SIGILL or SIGFPE that it caused itself",
    rivals="kill.supervisor crash.segv mem.app_heap",
    tag="pin_library",
    fix="Read the assertion on stderr; pin or upgrade the library, or build it for this CPU.",
    brings=(
        to("fs.truncated", Via.SAME),
        to("kill.namespace_init", Via.SIGNAL),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
    ),
    find=(crashes,),
)
