"""The cause card fs.unreadable."""

from __future__ import annotations

from receiver.investigate.cards import cause_class
from receiver.investigate.causes.bus_errors import bus_errors

CARD = cause_class(
    name="fs.unreadable",
    title="a page of a mapped file could not be provided",
    predicts="a SIGBUS inside of a mapped file",
    rivals="fs.replaced mem.shm_full fs.enospc",
    tag="check_device",
    fix=(
        "Check the kernel log for errors of the device or the server behind the file, and "
        "whether its file system is full."
    ),
    visible="P",
    needs="fault signal",
    find=(bus_errors,),
)
