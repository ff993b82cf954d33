"""Apache Airflow 2.x and 3.x.

Measured with 3.3.2 and 2.11.2 (LocalExecutor): the supervisor of an attempt opens the attempt's log
file for appending. The file's name holds dag, run, task and attempt. The next process that the
supervisor forks is the task; no exec follows. The commands that the task executes have
AIRFLOW_CTX_* in their environment (airflow `utils/operator_helpers.py`,
`sdk/execution_time/context.py`).

Any user can open a file of that name and set such a title. So a log file makes an attempt certain
only for a process that `attribution.proof` finds proven: its executable, and the package that it
has imported, belong to root or to its own user.
"""

from __future__ import annotations

import re
from functools import lru_cache

from receiver.attribution.claims import Bind, Claims, Expect, Idle, Imports, Role
from receiver.attribution.frameworks.base import Recogniser, is_written
from receiver.attribution.programs import arguments_after, positional, words
from receiver.events import FileOpened, OpenedFlag
from receiver.model import CERTAIN, PROBABLE, Identity
from receiver.work.worker import Worker

_PREFIX = "AIRFLOW_CTX_"
_VALUE_LIMIT = 250  # the columns dag_id, task_id and run_id of Airflow's metadata database
# [logging] log_filename_template. A deferred task's triggerer appends `.trigger.<id>.log`, which is
# not an attempt.
_LOG = re.compile(
    r"/dag_id=([^/]+)/run_id=([^/]+)/task_id=([^/]+)"
    r"(?:/map_index=(-?\d{1,6}))?/attempt=(\d{1,6})\.log$"
)
_PACKAGE = re.compile(r"/(?:site|dist)-packages/airflow/(?:[^/]+/)*__init__\.[^/]*$")
_RUNNER = re.compile(r"airflow task runner: (\S+) (\S+) (\S+)")
_SERVICES = {
    "scheduler",
    "dag-processor",
    "triggerer",
    "api-server",
    "standalone",
    "webserver",
    "celery",
    "kubernetes-executor",
    "serve-logs",
    "executor",
    "worker",
}
_NAMING = {
    "scheduler",
    "standalone",
    "celery",
    "worker",
    "executor",
}  # these processes, or their forks, open the logs of attempts


class Airflow(Recogniser):
    name = "airflow"
    programs = frozenset({"airflow"})
    variables = (_PREFIX,)
    titles = ("airflow ", "[celeryd")
    paths = ("/dag_id=", "-packages/airflow/")
    environment = (_PREFIX,)
    binding = ("AIRFLOW_CTX_TASK_ID",)
    # the owner of these files helps to prove which process is an orchestrator
    packages = ("airflow", "executors", "jobs", "execution_time", "dag_processing")
    path_keys = ("dag_id", "run_id", "task_id", "map_index", "attempt")  # of its logs

    def image(self, process: Worker) -> Claims:
        """Airflow's own services are known by their command line, and the children of tasks by
        their environment.
        """
        identity = _from_environment(process.environ)
        claims: Claims = (Bind(identity),) if identity is not None else ()
        if not any("airflow" in word for word in process.argv[:4]):
            return claims  # a task's child: only the environment identifies it
        command = positional(arguments_after(process.argv, "airflow"))[:1] or (
            "execute_workload",
        ) * _runs_workload(process)
        program = self.name if words(process)[1:] == (self.name,) else ""
        if command and command[0] in _SERVICES:
            claims += (Role(f"airflow {command[0]}", command[0] in _NAMING, program),)
        elif command and command[0] in ("tasks", "execute_workload"):
            claims += (Role("airflow supervisor", True, program),)
        return claims

    def titled(self, process: Worker) -> Claims:
        """A worker's title says when it is idle; a 2.x runner's title holds dag, task and run."""
        title = process.title
        if title.endswith("<idle>"):
            return (Idle(),)
        if found := _RUNNER.match(title):
            dag, task, run = (value[:_VALUE_LIMIT] for value in found.groups())
            attempt = (
                next((e.identity.attempt for e in process.execution.chain()), 1)
                if process.execution
                else 1
            )
            return (
                Bind(
                    Identity(
                        "airflow",
                        dag,
                        run,
                        task,
                        attempt,
                        source="title",
                        confidence=PROBABLE,
                        evidence="the title of an Airflow task runner",
                    )
                ),
            )
        if title.startswith(
            (
                "airflow worker",
                "airflow executor",
                "airflow task supervisor",
                "airflow supervisor",
                "airflow scheduler",
            )
        ):
            return (Role("airflow supervisor", watch=True),)
        return ()

    def opened(self, process: Worker, event: FileOpened) -> Claims:
        if _PACKAGE.search(event.path):
            return (
                Imports(
                    self.name,
                    bool(event.opened_flags & (OpenedFlag.ROOT_OWNS | OpenedFlag.USER_OWNS)),
                ),
            )
        found = _LOG.search(event.path)
        if found is None or not is_written(event):
            return ()
        known = process.execution
        dag, run, task, index, attempt = found.groups()
        identity = Identity(
            "airflow",
            dag[:_VALUE_LIMIT],
            run[:_VALUE_LIMIT],
            task[:_VALUE_LIMIT],
            attempt=int(attempt),
            map_index=int(index) if index else -1,
            source="file",
            confidence=CERTAIN,  # only where it is proven: attribution.proof
            evidence="the attempt's log file, opened by its supervisor",
            portable=True,
            unreliable_exit_status=not _is_second(process),
        )
        if known is not None and any(e.identity.agrees(identity) for e in known.chain()):
            return ()  # the task itself, which inherits the log, or opens it again
        if process.title.startswith("airflow task runner"):
            return (Bind(identity, opened=event),)
        return (
            Expect(identity, begun=bool(event.opened_flags & OpenedFlag.INHERITED), opened=event),
        )


def _is_second(process: Worker) -> bool:
    """In 2.x, the runner exits with the task's status. In 3.x, it also exits with 0 on failure."""
    return process.title.startswith("airflow task")


def _runs_workload(process: Worker) -> bool:
    return any("execution_time.execute_workload" in word for word in process.argv[:4])


@lru_cache(maxsize=512)  # every child of a task has the same environment
def _from_environment(environ: tuple[str, ...]) -> Identity | None:
    """Needs dag, task and run. A missing try number means the first attempt."""
    values: dict[str, str] = {}
    for entry in environ:
        if entry.startswith(_PREFIX):
            name, _, value = entry[len(_PREFIX) :].partition("=")
            values[name] = value[:_VALUE_LIMIT]
    if not values:
        return None
    dag, task, run = (
        values.get("DAG_ID", ""),
        values.get("TASK_ID", ""),
        values.get("DAG_RUN_ID", ""),
    )
    if not (dag and task and run):
        return None
    return Identity(
        "airflow",
        dag,
        run,
        task,
        attempt=_number(values.get("TRY_NUMBER", ""), 1),
        map_index=_number(values.get("MAP_INDEX", ""), -1),
        source="env",
        confidence=PROBABLE,  # any user can set an environment; nothing else supports it yet
        evidence="AIRFLOW_CTX_DAG_ID, AIRFLOW_CTX_TASK_ID, AIRFLOW_CTX_DAG_RUN_ID at exec",
        portable=True,
    )


def _number(value: str, default: int) -> int:
    """Attempt numbers and map indexes are small. Anything else is a broken or hostile value."""
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 6 else default
