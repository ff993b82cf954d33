"""The cause card crash.segv."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.ends import crashes

CARD = cause_class(
    name="crash.segv",
    title="native code crashed",
    predicts="a SIGSEGV or SIGBUS that it caused itself",
    rivals="kill.supervisor crash.abort_ill fs.replaced mem.shm_full",
    tag="pin_library",
    fix=(
        "Pin or upgrade the native library that the stack names, and report the crash "
        "to its authors."
    ),
    brings=(
        to("fs.truncated", Via.SAME),
        to("kill.namespace_init", Via.SIGNAL),
        to("net.reset_short", Via.CONNECTION_ENDS),
        to("net.backlog_refused", Via.CONNECTION_ENDS, strict=True),
    ),
    find=(crashes,),
)
