"""The question of an alert: which work it is about."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated

import msgspec

from receiver.investigate.case import task_key
from receiver.units import SECOND
from receiver.work.execution import Execution

Moment = Annotated[datetime, msgspec.Meta(tz=True)]  # a time without a time zone is ambiguous


class AlertQuery(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}
):
    """The task to look for, and the time (RFC 3339, with a time zone). Empty: any."""

    pipeline: str = ""
    task: str = ""
    run_id: str = ""
    since: Moment | None = None
    until: Moment | None = None

    def wants(self, pipeline: str, task: str, run_id: str) -> bool:
        pairs = ((self.pipeline, pipeline), (self.task, task), (self.run_id, run_id))
        return all(not wanted or wanted == has for wanted, has in pairs)

    def is_about(self, execution: Execution) -> bool:
        _, pipeline, task = task_key(execution.identity)
        return self.wants(pipeline, task, execution.identity.run_id)

    def in_time(self, began: float, ended: float) -> bool:
        """Whether work from `began` to `ended` (Unix seconds) was done in the time asked for."""
        since = self.since.timestamp() if self.since is not None else -math.inf
        until = self.until.timestamp() if self.until is not None else math.inf
        return began <= until and ended >= since

    def concerns(self, running: Execution, began_unix_ns: int) -> bool:
        """Whether the alert is about work that runs and began at that time."""
        return self.is_about(running) and self.in_time(began_unix_ns / SECOND, math.inf)
