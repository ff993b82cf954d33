"""The cause card mem.hardware."""

from __future__ import annotations

from receiver.investigate.cards import cause_class
from receiver.investigate.causes.bus_errors import bus_errors

CARD = cause_class(
    name="mem.hardware",
    title="memory of the host is damaged",
    predicts="a SIGBUS for a hardware error",
    rivals="mem.shm_full fs.replaced",
    tag="replace_memory",
    fix="Take the host out of use, and check its memory (the kernel log names the address).",
    needs="fault signal",
    find=(bus_errors,),
)
