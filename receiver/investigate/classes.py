"""All cause classes by name: each has a title, a prediction, rivals and a fix."""

from __future__ import annotations

from receiver.investigate.class_tables import (
    files,
    hangs,
    kills,
    memory,
    moments,
    network,
    refusals,
    rest,
)
from receiver.investigate.class_tables.base import CauseClass, Fix

TABLES = (memory, kills, files, network, refusals, rest, hangs, moments)
CLASSES = {c.name: c for table in TABLES for c in table.CLASSES}
NOT_VISIBLE = CauseClass(
    name="none.not_visible",
    title="the kernel does not see the cause",
    predicts="",
    rivals=(),
    fix=Fix(
        "look_elsewhere",
        "Examine the data, the program's logic and its own log, or the remote service.",
    ),
    visible="N",
)
