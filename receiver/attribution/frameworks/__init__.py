"""One file per framework, tried in this order; the first that says "mine" wins.

A recogniser is a function (Process) -> Identity | None that is called when a process gets a new image. None means "not mine".
An exception means "broken": the recogniser is switched off for good and counted, the rest goes on. To add one: a file here,
a line in RECOGNISERS, its system in semconv/model/pipeline.yaml, and a test against a run of the real framework.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from receiver.attribution.frameworks import airflow
from receiver.attribution.tree import Process
from receiver.model import Identity

Recogniser = Callable[[Process], Identity | None]

RECOGNISERS: tuple[tuple[str, Recogniser], ...] = (("airflow", airflow.recognise),)


class Recognisers:
    """Asks them in order, and remembers which of them are broken."""

    def __init__(self, recognisers: tuple[tuple[str, Recogniser], ...] = RECOGNISERS) -> None:
        self._active = list(recognisers)
        self.broken: Counter[str] = Counter()

    def identify(self, process: Process) -> Identity | None:
        for entry in tuple(self._active):
            try:
                identity = entry[1](process)
            except Exception:
                self.broken[entry[0]] += 1
                self._active.remove(entry)
                continue
            if identity is not None:
                return identity
        return None
