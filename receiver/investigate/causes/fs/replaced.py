"""The cause card fs.replaced."""

from __future__ import annotations

from receiver.investigate.cards import Via, cause_class, to
from receiver.investigate.causes.bus_errors import bus_errors
from receiver.investigate.causes.files import replaced

CARD = cause_class(
    name="fs.replaced",
    title="a file was replaced, truncated or deleted while it was read",
    predicts="a change to a file that its reader had open",
    rivals="mem.shm_full crash.segv fs.read_early",
    tag="immutable_inputs",
    fix=("Write new versions under new names, and delete old ones only when no reader uses them."),
    needs="file_opened file_changed",
    spreads=True,
    brings=(
        to("crash.", Via.SAME),
        to("net.reset_short", Via.CONNECTION_ENDS),
    ),
    find=(
        bus_errors,
        replaced,
    ),
)
