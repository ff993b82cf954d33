"""Great Expectations 1.x. It has no command of its own: a process that imports it and then reads
data is a check.

The import alone is no check: Airflow parses a DAG file that imports it every 30 s. The files of a
file context below gx/ name the suite and the asset. An ephemeral context leaves only the data file
and the exit status.
"""

from __future__ import annotations

import re

from receiver.attribution.claims import Bind, Claims, Refine
from receiver.attribution.frameworks.base import Recogniser, is_written
from receiver.attribution.programs import base, own_run
from receiver.events import FileOpened
from receiver.model import PARTIAL, Identity
from receiver.work.worker import Worker

_PACKAGE = re.compile(r"/great_expectations/(?:__pycache__/)?__init__\.")
_RESULT = re.compile(r"/gx/uncommitted/validations/([^/]+)/([^/]+)/([^/]+)/([^/]+)\.json$")
_SUITE = re.compile(r"/gx/expectations/([^/.][^/]*)\.json$")
_DATA = (
    ".csv",
    ".parquet",
    ".tsv",
    ".json",
    ".jsonl",
    ".orc",
    ".avro",
    ".xlsx",
    ".feather",
    ".arrow",
    ".duckdb",
    ".sqlite",
    ".db",
    ".gz",
)


class GreatExpectations(Recogniser):
    name = "great_expectations"
    paths = ("/great_expectations/", "/gx/")
    packages = ("great_expectations",)

    def opened(self, process: Worker, event: FileOpened) -> Claims:
        path, state = event.path, process.notes.get(self.name, "")
        if not state:
            if _PACKAGE.search(path):
                process.remember(self.name, "imported")
            return ()
        suite = _SUITE.search(path) or _RESULT.search(path)
        if state == "imported" and (
            suite is not None
            or (not is_written(event) and path.endswith(_DATA) and "/gx/" not in path)
        ):
            process.remember(self.name, "checks")
            asset = base(path) if suite is None else suite[1]
            return (self._check(process, asset), *self._named(path))
        return self._named(path) if suite is not None and is_written(event) else ()

    def _check(self, process: Worker, asset: str) -> Bind:
        script = next((base(a) for a in process.argv[1:] if not a.startswith("-")), process.name)
        return Bind(
            Identity(
                self.name,
                script,
                own_run(process),
                asset,
                type="check",
                source="file",
                confidence=PARTIAL,
                evidence="it imported great_expectations, then opened data",
            )
        )

    def _named(self, path: str) -> Claims:
        """The path of the result: suite, run name, run time, datasource-asset."""
        if found := _RESULT.search(path):
            return (
                Refine(
                    system=self.name,
                    type="check",
                    pipeline=found[1],
                    task=found[4],
                    evidence="the path of its validation result",
                ),
            )
        if found := _SUITE.search(path):
            return (
                Refine(
                    system=self.name,
                    type="check",
                    pipeline=found[1],
                    evidence="the path of its expectation suite",
                ),
            )
        return ()
