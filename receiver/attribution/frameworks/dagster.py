"""Dagster 1.x: runs and their step processes.

The name of a step is in the event log only (see side stores). Measured with 1.13: the run id is in
the paths of the run's own database and of the logs that each step captures. The run's process
spawns the step processes, and these open the logs.
"""

from __future__ import annotations

import re

from receiver.attribution.claims import Bind, Claims, Refine, Role
from receiver.attribution.frameworks.base import HelperRole, Recogniser, is_written
from receiver.attribution.programs import arguments_after, base, option, own_run, positional
from receiver.events import FileOpened
from receiver.model import PARTIAL, PROBABLE, Identity
from receiver.work.worker import Worker

_RUN = r"([0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})"
_CAPTURED = re.compile(rf"/{_RUN}/compute_logs/([^/]+)\.(?:out|err)$")
_DATABASE = re.compile(rf"/history/runs/{_RUN}\.db$")
_LOG_HELPER = "dagster log helper"
_SERVICES = {("dev",), ("api",), ("code-server",), ("daemon",), ("webserver",)}


class Dagster(Recogniser):
    name = "dagster"
    programs = frozenset(
        {"dagster", "dagster_webserver", "dagster-webserver", "dagster-daemon", "tail", "python"}
    )
    paths = ("/compute_logs/", "/history/runs/")
    environment = (
        "DAGSTER_RUN_ID",
        "DAGSTER_RUN_JOB_NAME",
        "DAGSTER_RUN_STEP_KEY",
        "DAGSTER_CODE_LOCATION_NAME",
    )
    helpers = (HelperRole(_LOG_HELPER),)

    def image(self, process: Worker) -> Claims:
        argv = process.argv
        if process.name == "tail" or any(
            word.endswith("/execution/scripts/watch_orphans.py") for word in argv[1:3]
        ):
            helper = process.name != "tail" or any("/compute_logs/" in word for word in argv[-1:])
            return (Role(_LOG_HELPER),) if helper else ()
        arguments = arguments_after(argv, "dagster")
        command = positional(arguments)
        if command[:2] in (("job", "execute"), ("asset", "materialize")):
            job = (
                option(arguments, "-j", "--job", "--select")
                or base(option(arguments, "-f", "--python-file"))
                or "job"
            )
            identity = Identity(
                self.name,
                job,
                own_run(process),
                job,
                type="job",
                source="argv",
                confidence=PROBABLE,
                evidence="a dagster command line",
            )
            return (Bind(identity),)
        if command[:1] in _SERVICES or any(
            word in argv for word in ("dagster_webserver", "dagster._daemon")
        ):
            return (
                Role(
                    f"dagster {command[0] if command else 'service'}",
                    watch=command[:1] in (("dev",), ("api",), ("code-server",)),
                ),
            )
        return ()

    def opened(self, process: Worker, event: FileOpened) -> Claims:
        if not is_written(event):
            return ()
        if found := _CAPTURED.search(event.path):
            return self._step(process, found[1], found[2])
        if found := _DATABASE.search(event.path):
            return self._run(process, found[1])
        return ()

    def _run(self, process: Worker, run: str) -> Claims:
        """The run's own process, unless it is inside of the run already."""
        inside = (
            [e.identity for e in process.execution.chain() if e.identity.system == self.name]
            if process.execution
            else []
        )
        if inside:
            return (Refine(system=self.name, type="job", run_id=run),)
        if process.role or "--multiprocessing-fork" not in process.argv:
            return ()  # a daemon that manages all runs
        return (
            Bind(
                Identity(
                    self.name,
                    "run",
                    run,
                    f"run {run[:8]}",
                    type="job",
                    source="file",
                    confidence=PARTIAL,
                    evidence="it opened the run's own event log",
                    portable=True,
                    unreliable_exit_status=True,
                )
            ),
        )

    def _step(self, process: Worker, run: str, key: str) -> Claims:
        """A child of the run's process.

        In an in-process run, the run's process itself captures the logs.
        """
        if process.execution is None or any(
            e.identity.system == self.name and e.root is process for e in process.execution.chain()
        ):
            return (Refine(system=self.name, type="job", run_id=run),)
        pipeline = next(
            (
                e.identity.pipeline
                for e in process.execution.chain()
                if e.identity.system == self.name
            ),
            "run",
        )
        identity = Identity(
            self.name,
            pipeline,
            run,
            f"step {key}",
            type="task",
            source="file",
            confidence=PARTIAL,
            evidence="the log that the step captures; its name is in Dagster's event log only",
            unreliable_exit_status=True,
        )
        return (Refine(system=self.name, type="job", run_id=run), Bind(identity))
