"""What an alert asks for: webhooks of Alertmanager and Grafana, and a simple form of our own."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from receiver.errors import DataError
from receiver.investigate.alerts import AlertQuery
from receiver.text.printable import printable
from receiver.text.redact.log import redacted

ALERTS = 100  # in one request
NAME_LENGTH = 256
# An alert fires some time after what it is about: rules are evaluated, and wait (`for`, group_wait)
LOOK_BACK = timedelta(hours=1)
_LABELS = {
    "pipeline": ("pipeline_name", "pipeline", "dag_id", "dag", "flow", "job_name"),
    "task": ("pipeline_task_name", "task", "task_id", "task_name", "step"),
    "run_id": ("pipeline_run_id", "run_id", "dag_run_id", "run"),
}


class _Alert(msgspec.Struct, frozen=True):
    labels: dict[str, str] = {}
    startsAt: str = ""  # noqa: N815 (Alertmanager's name)
    endsAt: str = ""  # noqa: N815


class _Webhook(msgspec.Struct, frozen=True):
    """The format of Alertmanager (v4) and Grafana: both have alerts with labels."""

    alerts: list[_Alert]


def queries(body: bytes) -> list[AlertQuery]:
    """The alerts of a webhook's body. Raises DataError, with one line, for any other body."""
    try:
        raw = msgspec.json.decode(body)
        if isinstance(raw, dict) and "alerts" in raw:
            alerts = msgspec.convert(raw, _Webhook).alerts
            if len(alerts) > ALERTS:
                raise DataError(f"{len(alerts)} alerts, at most {ALERTS} in one request")
            found = [_of_labels(a) for a in alerts]
        else:
            found = [msgspec.convert(raw, AlertQuery)]
    except (ValueError, RecursionError) as error:
        raise DataError(f"not an alert: {printable(str(error))[:200] or 'not JSON'}") from None
    found = [q for q in found if q.pipeline or q.task or q.run_id]
    if not found:
        raise DataError("no alert names a pipeline, a task or a run")
    for query in found:
        _check(query)
    return [_without_secrets(q) for q in found]


def _without_secrets(query: AlertQuery) -> AlertQuery:
    """A query is recorded, and the names of work have no secrets either."""
    return msgspec.structs.replace(
        query,
        pipeline=redacted(query.pipeline),
        task=redacted(query.task),
        run_id=redacted(query.run_id),
    )


def _check(query: AlertQuery) -> None:
    if any(len(v) > NAME_LENGTH for v in (query.pipeline, query.task, query.run_id)):
        raise DataError(f"a name is longer than {NAME_LENGTH} characters")
    if query.since is not None and query.until is not None and query.since > query.until:
        raise DataError("not an alert: it ends before it starts")


def _of_labels(alert: _Alert) -> AlertQuery:
    values = {
        name: next((alert.labels[k] for k in keys if k in alert.labels), "")
        for name, keys in _LABELS.items()
    }
    starts, ends = _moment("startsAt", alert.startsAt), _moment("endsAt", alert.endsAt)
    since = starts - LOOK_BACK if starts is not None else None
    return AlertQuery(since=since, until=ends, **values)


def _moment(name: str, text: str) -> datetime | None:
    """Alertmanager writes year 1 for "not yet". Raises DataError for a time that is ambiguous."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        missing = "a time zone" if found is not None else "RFC 3339, such as 2026-01-31T10:00:00Z"
        raise DataError(f"not an alert: {name} needs {missing}: {printable(text)[:40]}")
    return found if found.year > 1 else None
