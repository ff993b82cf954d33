"""What a cause class is. The tables of this folder have one entry for each class.

`predicts` completes the sentence "Nothing shows …" for a rival without evidence. `needs` are the
kinds of events that must be complete for this sentence to be true. `visible` is K if kernel facts
prove the cause. It is P if they prove only the mechanism, and the reason needs other data.
"""

from __future__ import annotations

import msgspec


class Fix(msgspec.Struct, frozen=True):
    tag: str
    text: str


class CauseClass(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    title: str
    predicts: str
    rivals: tuple[str, ...]
    fix: Fix
    visible: str = "K"
    needs: tuple[str, ...] = ()


def cause_class(
    *,
    name: str,
    title: str,
    predicts: str,
    rivals: str,
    tag: str,
    fix: str,
    visible: str = "K",
    needs: str = "signal exit",
) -> CauseClass:
    return CauseClass(
        name=name,
        title=title,
        predicts=predicts,
        rivals=tuple(rivals.split()),
        fix=Fix(tag, fix),
        visible=visible,
        needs=tuple(needs.split()),
    )
