"""Panels, variables and queries, of which the dashboards are made.

Queries use the metric names that Prometheus makes from OTLP (UnderscoreEscapingWithSuffixes), and
structured metadata as Loki names it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

PROMETHEUS = {"type": "prometheus", "uid": "prometheus"}
LOKI = {"type": "loki", "uid": "loki"}
SELECTED = 'pipeline_name=~"$pipeline", pipeline_task_name=~"$task"'
LOGS = '{service_name=~".+"} | pipeline_name=~"$pipeline"'


@dataclass(frozen=True)
class Panel:
    title: str
    queries: tuple[tuple[str, str], ...]  # (expression, legend)
    kind: str = "timeseries"  # or stat, logs, table
    unit: str = "short"
    source: dict[str, str] = field(default_factory=lambda: PROMETHEUS)
    width: int = 12
    height: int = 8
    about: str = ""

    def json(self, number: int, x: int, y: int) -> dict[str, Any]:
        instant = self.kind in ("stat", "table")
        targets = [
            {
                "refId": chr(65 + n),
                "datasource": self.source,
                "expr": expr,
                "legendFormat": legend,
                "instant": instant,
                "range": not instant,
            }
            | ({"format": "table"} if self.kind == "table" else {})
            | ({"queryType": "range"} if self.source is LOKI else {})
            for n, (expr, legend) in enumerate(self.queries)
        ]
        options: dict[str, Any] = {}
        if self.kind == "logs":
            options = {
                "showTime": True,
                "wrapLogMessage": True,
                "enableLogDetails": True,
                "sortOrder": "Descending",
                "dedupStrategy": "none",
            }
        defaults: dict[str, Any] = {"unit": self.unit}
        if self.kind == "timeseries":
            link = {
                "title": "Traces of this pipeline",
                "url": "/explore?left=" + EXPLORE,
                "targetBlank": True,
            }
            defaults["links"] = [link]
        return {
            "id": number,
            "title": self.title,
            "type": self.kind,
            "datasource": self.source,
            "description": self.about,
            "targets": targets,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "options": options,
            "fieldConfig": {"defaults": defaults, "overrides": []},
        }


EXPLORE = (
    '{"datasource":"jaeger","queries":[{"queryType":"search",'
    '"service":"${__field.labels.pipeline_system_name}"}]}'
)


def variable(name: str, label: str, query: str, *, shown: bool = True) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": PROMETHEUS,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "hide": 0 if shown else 2,
        "sort": 1,
    }


VARIABLES = (
    variable(
        "pipeline", "Pipeline", "label_values(pipeline_task_duration_seconds_count, pipeline_name)"
    ),
    variable(
        "task",
        "Task",
        'label_values(pipeline_task_duration_seconds_count{pipeline_name=~"$pipeline"}, '
        "pipeline_task_name)",
    ),
)


def events(name: str, more: str = "") -> str:
    return f'{LOGS} | event_name="{name}"{more}'


def rate(metric: str, by: str, selected: str = SELECTED) -> str:
    return f"sum by ({by}) (increase({metric}{{{selected}}}[$__rate_interval]))"


def quantile(metric: str, share: float, by: str) -> str:
    return (
        f"histogram_quantile({share}, sum by (le, {by}) "
        f"(rate({metric}_bucket{{{SELECTED}}}[$__rate_interval])))"
    )


# title, variables, panels
Dashboard: TypeAlias = tuple[str, tuple[dict[str, Any], ...], list[Panel]]
