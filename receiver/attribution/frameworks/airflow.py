"""Apache Airflow (2.x and 3.x): the context variables that every operator hands to its subprocesses.

Source: airflow `utils/operator_helpers.py` (2.x) and `sdk/execution_time/context.py` (3.x), AIRFLOW_VAR_NAME_FORMAT_MAPPING.
Only what a process is given at its exec counts; titles and the attempt's log file come with the other frameworks.
"""

from __future__ import annotations

from functools import lru_cache

from receiver.attribution.tree import Process
from receiver.model import Identity

_PREFIX = "AIRFLOW_CTX_"
_VALUE_LIMIT = 250  # the columns dag_id, task_id and run_id of Airflow's metadata database


def recognise(process: Process) -> Identity | None:
    """Needs dag, task and run; a missing try number means the first."""
    return _identity(process.environ)


@lru_cache(maxsize=512)  # every child of a task brings the same environment
def _identity(environ: tuple[str, ...]) -> Identity | None:
    values: dict[str, str] = {}
    for entry in environ:
        if entry.startswith(_PREFIX):
            name, _, value = entry[len(_PREFIX) :].partition("=")
            values[name] = value[:_VALUE_LIMIT]
    if not values:
        return None
    dag, task, run = values.get("DAG_ID", ""), values.get("TASK_ID", ""), values.get("DAG_RUN_ID", "")
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
        confidence=0.9,  # anybody can set an environment; nothing else supports it yet
        evidence="AIRFLOW_CTX_DAG_ID, AIRFLOW_CTX_TASK_ID, AIRFLOW_CTX_DAG_RUN_ID at exec",
    )


def _number(value: str, default: int) -> int:
    """Attempts and map indexes are small; anything else is a broken or hostile value."""
    return int(value) if value.isascii() and value.isdigit() and len(value) <= 6 else default
