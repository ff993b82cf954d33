"""All cause classes by name: each has a title, a prediction, rivals and a fix."""

from __future__ import annotations

from receiver.investigate.cards import CauseClass, Fix
from receiver.investigate.causes import CARDS

CLASSES = {card.name: card for card in CARDS}
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
