"""Answers about incidents: lists, reports in three forms, notes, and alerts from other systems."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from receiver.errors import DataError
from receiver.investigate.alerts import AlertQuery
from receiver.investigate.compose import report_id
from receiver.investigate.history import NOTE_BYTES
from receiver.investigate.report import Report, to_json
from receiver.observe.session import Session
from receiver.text.printable import printable
from receiver.text.redact.log import redacted

ALERTS = 100  # in one request
NAME_LENGTH = 256
_LABELS = {
    "pipeline": ("pipeline_name", "pipeline", "dag_id", "dag", "flow", "job_name"),
    "task": ("pipeline_task_name", "task", "task_id", "task_name", "step"),
    "run_id": ("pipeline_run_id", "run_id", "dag_run_id", "run"),
}
_TOLD = 5  # reports and runs in one answer


class _Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    note: str


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
    if any(len(v) > NAME_LENGTH for q in found for v in (q.pipeline, q.task, q.run_id)):
        raise DataError(f"a name is longer than {NAME_LENGTH} characters")
    return [_without_secrets(q) for q in found]


def _without_secrets(query: AlertQuery) -> AlertQuery:
    """A query is recorded, and the names of work have no secrets either."""
    return msgspec.structs.replace(
        query,
        pipeline=redacted(query.pipeline),
        task=redacted(query.task),
        run_id=redacted(query.run_id),
    )


def _of_labels(alert: _Alert) -> AlertQuery:
    values = {
        name: next((alert.labels[k] for k in keys if k in alert.labels), "")
        for name, keys in _LABELS.items()
    }
    return AlertQuery(since=_moment(alert.startsAt), until=_moment(alert.endsAt), **values)


def _moment(text: str) -> datetime | None:
    """Alertmanager writes year 1 for "not yet"."""
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None
    except ValueError:
        return None
    return found if found is not None and found.year > 1 and found.tzinfo is not None else None


class IncidentApi:
    """Answers from reports alone."""

    def __init__(self, reports: Callable[[], Mapping[str, Report]]) -> None:
        self._reports = reports

    def listing(self) -> bytes:
        """The latest first."""
        rows = [
            {
                "id": number,
                "verdict": r.verdict,
                "cause": r.hypotheses[0].cause if r.verdict == "incident" else None,
                "confidence": r.hypotheses[0].confidence if r.verdict == "incident" else None,
                "summary": r.summary,
                "pipeline": r.execution.pipeline,
                "task": r.execution.task,
                "run_id": r.execution.run_id,
                "ended": r.ended,
                "seen_before": r.seen_before,
            }
            for number, r in reversed(list(self._reports().items()))
        ]
        return msgspec.json.encode({"incidents": rows})

    def report(self, number: str, form: str) -> str | None:
        found = self._reports().get(number)
        if found is None:
            return None
        if form == "text":
            from receiver.render.terminal import details, screen  # see render/__init__.py

            return f"{screen(found)}\n\n{details(found)}\n"
        if form == "page":
            from receiver.render.page import page

            return page(found)
        return to_json(found).decode()

    def note(self, number: str, body: bytes) -> bool:  # noqa: ARG002 (there is no history to note it in)
        return False

    def alert(self, body: bytes) -> bytes:
        """The known facts about each execution that the alert names."""
        out = []
        for query in queries(body):
            known = [r for r in self._reports().values() if _is_about(r, query)]
            out.append(
                {
                    "query": msgspec.to_builtins(query),
                    "reports": [_brief(r) for r in known[-_TOLD:]],
                    "seen": [],
                }
            )
        return msgspec.json.encode({"alerts": out})


class LiveIncidentApi(IncidentApi):
    """Answers from a session's core, and from the reports of earlier services. `now` returns boot
    ns.
    """

    def __init__(
        self, session: Session, now: Callable[[], int], earlier: dict[str, Report] | None = None
    ) -> None:
        super().__init__(lambda: {**(earlier or {}), **session.core.incidents.reports})
        self._session, self._core, self._now = session, session.core, now

    def note(self, number: str, body: bytes) -> bool:
        try:
            text = msgspec.json.decode(body, type=_Note).note
        except (ValueError, RecursionError):
            raise DataError('the body is {"note": "…"}') from None
        if not 0 < len(text) <= NOTE_BYTES:
            raise DataError(f"a note has 1 to {NOTE_BYTES} characters")
        found = self._reports().get(number)
        return found is not None and self._session.note(
            found.signature, printable(redacted(text)), self._now()
        )

    def alert(self, body: bytes) -> bytes:
        """Investigates each execution that the alert names.

        For one that ended normally, lists what was observed.
        """
        out = []
        for query in queries(body):
            now_running = {report_id(e) for e in self._core.running(query)}
            reports = self._session.alert(query, self._now())
            known = [
                r
                for r in self._reports().values()
                if _is_about(r, query) and r.id not in now_running
            ]
            found = [*reports, *known[-_TOLD:]]
            out.append(
                {
                    "query": msgspec.to_builtins(query),
                    "reports": [_brief(r) for r in found],
                    "seen": list(self._seen(query)),
                }
            )
        return msgspec.json.encode({"alerts": out})

    def _seen(self, query: AlertQuery) -> Iterator[dict[str, Any]]:
        history = self._core.history
        for key, runs in list(history.tasks.items()) if history is not None else ():
            for run in list(runs)[-_TOLD:]:
                if query.wants(key[1], key[2], run.run_id):
                    when = datetime.fromtimestamp(run.ended_unix_ns / 1e9, UTC).isoformat()
                    yield {
                        "pipeline": key[1],
                        "task": key[2],
                        "run_id": run.run_id,
                        "ended": when,
                        "seconds": run.seconds,
                        "failed": run.failed,
                        "end": run.end,
                    }


def _is_about(report: Report, query: AlertQuery) -> bool:
    execution = report.execution
    return query.wants(execution.pipeline, execution.task, execution.run_id) and _in_time(
        report, query
    )


def _in_time(report: Report, query: AlertQuery) -> bool:
    ended = datetime.fromisoformat(report.ended) if report.ended else None
    if ended is None:
        return True
    began = ended.timestamp() - report.execution.seconds
    return not (query.since and ended < query.since) and not (
        query.until and began > query.until.timestamp()
    )


def _brief(report: Report) -> dict[str, Any]:
    lead = report.hypotheses[0] if report.verdict == "incident" else None
    return {
        "id": report.id,
        "verdict": report.verdict,
        "summary": report.summary,
        "cause": lead.cause if lead is not None else None,
        "confidence": lead.confidence if lead is not None else None,
        "fix": lead.fix.text if lead is not None else None,
        "task": report.execution.task,
        "run_id": report.execution.run_id,
    }
