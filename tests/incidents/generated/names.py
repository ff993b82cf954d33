"""Names of programs, files and folders that say nothing about what happens."""

from __future__ import annotations

import random

_VERBS = (
    "load",
    "merge",
    "export",
    "build",
    "clean",
    "sync",
    "collect",
    "rank",
    "publish",
    "derive",
    "fold",
    "enrich",
)
_NOUNS = (
    "orders",
    "users",
    "stock",
    "invoices",
    "events",
    "prices",
    "routes",
    "sensors",
    "tickets",
    "quotes",
    "meters",
    "parcels",
)
_FILES = (
    "day",
    "daily",
    "batch",
    "part",
    "snapshot",
    "rows",
    "table",
    "index",
    "summary",
    "export",
)
_ENDINGS = ("csv", "dat", "bin", "tsv", "json", "log", "txt")


class Names:
    """Draws names, none twice."""

    def __init__(self, draw: random.Random) -> None:
        self._draw, self._used = draw, set[str]()

    def _fresh(self, make: str) -> str:
        name, count = make, 1
        while name in self._used:
            count += 1
            name = f"{make}{count}"
        self._used.add(name)
        return name

    def program(self) -> str:
        joint = self._draw.choice("_-_")
        return self._fresh(self._draw.choice(_VERBS) + joint + self._draw.choice(_NOUNS))

    def file(self) -> str:
        stem = self._fresh(f"{self._draw.choice(_NOUNS)}_{self._draw.choice(_FILES)}")
        return f"{stem}.{self._draw.choice(_ENDINGS)}"

    def folder(self) -> str:
        return self._fresh(self._draw.choice(_NOUNS))
