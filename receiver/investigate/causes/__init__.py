"""All cause cards: one file for each class, in the folder of its family.

A card holds everything about its class: what it is, what it predicts, its rivals, its fix, what it
brings about, and the functions that find it. Classes that one look tells apart share a function,
which is in a module of this folder. No other module names a class.
"""

from __future__ import annotations

from receiver.investigate.cards import CauseClass, Finder
from receiver.investigate.causes import (
    cpu,
    crash,
    data,
    db,
    fs,
    hang,
    kill,
    lim,
    mem,
    net,
    proc,
    time,
)

CARDS: tuple[CauseClass, ...] = (
    *cpu.CARDS,
    *crash.CARDS,
    *data.CARDS,
    *db.CARDS,
    *fs.CARDS,
    *hang.CARDS,
    *kill.CARDS,
    *lim.CARDS,
    *mem.CARDS,
    *net.CARDS,
    *proc.CARDS,
    *time.CARDS,
)
# Each function once, in the order of the cards.
FINDERS: tuple[Finder, ...] = tuple(dict.fromkeys(find for card in CARDS for find in card.find))
