"""The recognisers, one file per framework.

They are asked in this order: a framework that starts others comes before those that it starts. A
recogniser looks at one fact and returns claims (`receiver.attribution.claims`), or nothing when the
fact does not concern it. When it raises an exception, it is switched off for good and counted, and
the others continue. The claims of all recognisers count, because work nests: one exec can be an
Airflow task's child and a dbt run.

To add one, write a file here and add a line to RECOGNISERS; CONTRIBUTING.md has the rest.
Everything that other rooms must know about a framework is declared in its class (frameworks.base)
and collected by `receiver.attribution.declared`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from receiver.attribution.claims import Claims
from receiver.attribution.frameworks import (
    airflow,
    celery,
    cron,
    dagster,
    dbt,
    great_expectations,
    luigi,
    make,
    nextflow,
    papermill,
    prefect,
    snakemake,
    spark,
)
from receiver.attribution.frameworks.base import Recogniser
from receiver.attribution.programs import words
from receiver.events import FileChanged, FileOpened
from receiver.work.worker import Worker

RECOGNISERS: tuple[Recogniser, ...] = (
    cron.Cron(),
    celery.Celery(),
    airflow.Airflow(),
    prefect.Prefect(),
    dagster.Dagster(),
    luigi.Luigi(),
    nextflow.Nextflow(),
    snakemake.Snakemake(),
    papermill.Papermill(),
    make.Make(),
    spark.Spark(),
    dbt.Dbt(),
    great_expectations.GreatExpectations(),
)


REMEMBERED = 4096


class Recognisers:
    """Asks the recognisers whose words match, and switches off those that fail."""

    def __init__(self, recognisers: Iterable[Recogniser] = RECOGNISERS) -> None:
        self.broken: Counter[str] = Counter()
        self._active = list(recognisers)
        self._index()

    def _index(self) -> None:
        """Most processes belong to no framework: comparing their words must be enough to find that
        out.
        """
        self._by_word: dict[str, list[Recogniser]] = {}
        for recogniser in self._active:
            for word in recogniser.programs:
                self._by_word.setdefault(word, []).append(recogniser)
        self._by_variable = tuple((v, r) for r in self._active for v in r.variables)
        self._every = [r for r in self._active if r.every_image]
        self._asked: dict[object, tuple[Recogniser, ...]] = {}
        self._rank = {r.name: rank for rank, r in enumerate(self._active)}
        self._titled = [r for r in self._active if r.titles]
        self._opened = [r for r in self._active if r.paths]
        self._changed = [r for r in self._active if r.changes]

    def image(self, process: Worker) -> Claims:
        key = (process.executable, process.argv, process.environ, process.comm)
        ranked = self._asked.get(key)
        if ranked is None:
            ranked = self._whom_to_ask(process)
            if len(self._asked) >= REMEMBERED:
                self._asked.clear()
            self._asked[key] = ranked  # pipelines run the same commands again and again
        return self._ask(ranked, lambda r: r.image(process)) if ranked else ()

    def _whom_to_ask(self, process: Worker) -> tuple[Recogniser, ...]:
        asked: dict[str, Recogniser] = {r.name: r for r in self._every}
        for word in words(process):
            for recogniser in self._by_word.get(word, ()):
                asked[recogniser.name] = recogniser
        if process.environ:
            for variable, recogniser in self._by_variable:
                if recogniser.name not in asked and any(
                    entry.startswith(variable) for entry in process.environ
                ):
                    asked[recogniser.name] = recogniser
        return tuple(sorted(asked.values(), key=lambda r: self._rank[r.name]))

    def titled(self, process: Worker) -> Claims:
        title = process.title
        return (
            self._ask(
                (r for r in self._titled if title.startswith(r.titles)), lambda r: r.titled(process)
            )
            if title
            else ()
        )

    def opened(self, process: Worker, event: FileOpened) -> Claims:
        path = event.path
        found = [r for r in self._opened if any(piece in path for piece in r.paths)]
        found += [r for r in self._opened if r.name in process.notes and r not in found]
        return self._ask(found, lambda r: r.opened(process, event)) if found else ()

    def changed(self, process: Worker, event: FileChanged) -> Claims:
        path = event.path
        found = [r for r in self._changed if any(piece in path for piece in r.paths)]
        return self._ask(found, lambda r: r.changed(process, event)) if found else ()

    def _ask(
        self, recognisers: Iterable[Recogniser], question: Callable[[Recogniser], Claims]
    ) -> Claims:
        claims: Claims = ()
        for recogniser in tuple(recognisers):
            try:
                claims += question(recogniser)
            except Exception:
                self.broken[recogniser.name] += 1
                self._active.remove(recogniser)
                self._index()
        return claims
