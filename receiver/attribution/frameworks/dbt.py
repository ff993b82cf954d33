"""dbt: a run, with its models and tests. One thread of the process does each of them.

Measured with dbt-core 1.11: a thread writes target/compiled/<project>/…, then
target/run/<project>/…, then executes. Nothing that the kernel sees marks the end of a node: it is
over when its thread begins the next one, or when dbt writes target/run_results.json.
"""

from __future__ import annotations

import re

from receiver.attribution.claims import Begin, Bind, Claims, End, Refine
from receiver.attribution.frameworks.base import Recogniser, is_written
from receiver.attribution.programs import arguments_after, base, option, own_run
from receiver.events import FileOpened
from receiver.model import PROBABLE, Identity
from receiver.work.worker import Worker

_COMMANDS = {
    "run",
    "build",
    "test",
    "seed",
    "snapshot",
    "compile",
    "run-operation",
    "source",
    "docs",
    "clone",
    "retry",
    "show",
}
_NODE = re.compile(r"/target/(?:compiled|run)/([^/]+)/((?:[^/]+/)*)([^/]+)\.(?:sql|py|csv)$")


class Dbt(Recogniser):
    name = "dbt"
    programs = frozenset({"dbt"})
    paths = ("/target/",)
    environment = (
        "DBT_CLOUD_PROJECT_ID",
        "DBT_CLOUD_JOB_ID",
        "DBT_CLOUD_RUN_ID",
        "DBT_CLOUD_RUN_REASON_CATEGORY",
        "DBT_CLOUD_ENVIRONMENT_ID",
        "DBT_INVOCATION_ID",
    )
    metadata_paths = ("/target/",)

    def image(self, process: Worker) -> Claims:
        arguments = arguments_after(process.argv, "dbt")
        command = next((word for word in arguments if word in _COMMANDS), "")
        if not command:
            return ()
        directory = option(arguments, "--project-dir") or process.working_directory
        project = base(directory.rstrip("/")) or "dbt"
        process.remember("dbt project", project)
        return (
            Bind(
                Identity(
                    "dbt",
                    project,
                    own_run(process),
                    f"dbt {command}",
                    type="job",
                    source="argv",
                    confidence=PROBABLE,
                    evidence=(
                        "a dbt command line; the project is its directory until it writes below "
                        "target/"
                    ),
                )
            ),
        )

    def opened(self, process: Worker, event: FileOpened) -> Claims:
        if "dbt project" not in process.notes or not is_written(event):
            return ()
        if event.path.endswith("/target/run_results.json"):
            return (End(seen=False),)
        found = _NODE.search(event.path)
        if found is None:
            return ()
        project, folders, node = found.groups()
        is_test = ".yml/" in folders or folders.startswith(("tests/", "data_tests/"))
        identity = Identity(
            "dbt",
            project,
            own_run(process),
            node,
            type="check" if is_test else "model",
            source="file",
            confidence=PROBABLE,
            evidence="its thread wrote the compiled node below target/",
        )
        claims: Claims = (Begin(identity, event.thread),)
        if process.notes["dbt project"] != project:
            process.remember("dbt project", project)
            claims = (Refine(system="dbt", type="job", pipeline=project), *claims)
        return claims
