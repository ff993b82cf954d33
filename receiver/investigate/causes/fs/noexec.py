"""The cause card fs.noexec."""

from __future__ import annotations

from receiver.investigate.cards import cause_class
from receiver.investigate.causes.refused_memory import refused_memory

CARD = cause_class(
    name="fs.noexec",
    title="a library or program is on a mount that permits no execution",
    predicts="an executable mapping of a file on a mount with noexec",
    rivals="fs.eacces proc.interpreter",
    tag="mount_exec",
    fix="Mount the file system without noexec, or move the file to one that permits execution.",
    needs="memory_refused",
    find=(refused_memory,),
)
