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
from receiver.investigate.report import EXPLAINED, Report, to_json
from receiver.observe.session import Session
from receiver.service.alerts import queries
from receiver.text.printable import printable
from receiver.text.redact.log import redacted

_TOLD = 5  # reports and runs in one answer


class _Note(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    note: str


class IncidentApi:
    """Answers from reports alone."""

    def __init__(self, reports: Callable[[], Mapping[str, Report]]) -> None:
        self._reports = reports

    def listing(self) -> bytes:
        """The latest first."""
        rows = [
            {
                "id": incident_id,
                "verdict": r.verdict,
                "cause": r.hypotheses[0].cause if r.verdict in EXPLAINED else None,
                "confidence": r.hypotheses[0].confidence if r.verdict in EXPLAINED else None,
                "summary": r.summary,
                "pipeline": r.execution.pipeline,
                "task": r.execution.task,
                "run_id": r.execution.run_id,
                "ended": r.ended,
                "seen_before": r.seen_before,
            }
            for incident_id, r in reversed(list(self._reports().items()))
        ]
        return msgspec.json.encode({"incidents": rows})

    def report(self, incident_id: str, form: str) -> str | None:
        found = self._reports().get(incident_id)
        if found is None:
            return None
        if form == "text":
            from receiver.render.terminal import details, screen  # see render/__init__.py

            return f"{screen(found)}\n\n{details(found)}\n"
        if form == "page":
            from receiver.render.page import page

            return page(found)
        return to_json(found).decode()

    def note(self, incident_id: str, body: bytes) -> bool:  # noqa: ARG002 (there is no history)
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

    def note(self, incident_id: str, body: bytes) -> bool:
        try:
            text = msgspec.json.decode(body, type=_Note).note
        except (ValueError, RecursionError):
            raise DataError('the body is {"note": "…"}') from None
        if not 0 < len(text) <= NOTE_BYTES:
            raise DataError(f"a note has 1 to {NOTE_BYTES} characters")
        found = self._reports().get(incident_id)
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
                ended = run.ended_unix_ns / 1e9
                if query.wants(key[1], key[2], run.run_id) and query.in_time(
                    ended - run.seconds, ended
                ):
                    when = datetime.fromtimestamp(ended, UTC).isoformat()
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
    if not report.ended:
        return True
    ended = datetime.fromisoformat(report.ended).timestamp()
    return query.in_time(ended - report.execution.seconds, ended)


def _brief(report: Report) -> dict[str, Any]:
    lead = report.hypotheses[0] if report.verdict in EXPLAINED else None
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
