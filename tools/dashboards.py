"""Writes deploy/grafana/dashboards/*.json: `make generate`.

A dashboard is a list of rows of panels; a panel is a title and its queries. Queries use the metric
names that Prometheus makes from OTLP (UnderscoreEscapingWithSuffixes), and structured metadata as
Loki names it. tests/stack runs every query against the real servers.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent.parent / "deploy/grafana/dashboards"
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


DASHBOARDS: dict[str, tuple[str, tuple[dict[str, Any], ...], list[Panel]]] = {
    "pipelines": (
        "Pipelines",
        VARIABLES,
        [
            Panel(
                "Runs that ended",
                (
                    (
                        (
                            "sum by (pipeline_run_result) "
                            '(increase(pipeline_run_duration_seconds_count{pipeline_name=~"$pipeline"}[$__range]))'
                        ),
                        "{{pipeline_run_result}}",
                    ),
                ),
                "stat",
                width=8,
                height=5,
            ),
            Panel(
                "Failed tasks, by kernel events",
                (
                    (
                        (
                            f"sum(increase(pipeline_task_duration_seconds_count{{{SELECTED}, "
                            f'pipeline_task_run_result!="success"}}[$__range]))'
                        ),
                        "not success",
                    ),
                ),
                "stat",
                width=8,
                height=5,
            ),
            Panel(
                "Failed although they reported success",
                (
                    (
                        (
                            f"sum(count_over_time({events('pipeline.task.result_mismatch')} "
                            "[$__range]))"
                        ),
                        "masked failures",
                    ),
                ),
                "stat",
                source=LOKI,
                width=8,
                height=5,
            ),
            Panel(
                "Task attempts by result",
                (
                    (
                        rate(
                            "pipeline_task_duration_seconds_count",
                            "pipeline_name, pipeline_task_run_result",
                        ),
                        "{{pipeline_name}} {{pipeline_task_run_result}}",
                    ),
                ),
            ),
            Panel(
                "Duration of tasks, 95%",
                (
                    (
                        quantile(
                            "pipeline_task_duration_seconds",
                            0.95,
                            "pipeline_name, pipeline_task_name",
                        ),
                        "{{pipeline_name}} {{pipeline_task_name}}",
                    ),
                ),
                unit="s",
            ),
            Panel(
                "Running now",
                (
                    (
                        (
                            "sum by (pipeline_name, pipeline_task_name) "
                            f"(pipeline_task_active{{{SELECTED}}})"
                        ),
                        "{{pipeline_name}} {{pipeline_task_name}}",
                    ),
                ),
            ),
            Panel(
                "Killed by the OOM killer",
                (
                    (
                        rate("pipeline_task_oom_kills_total", "pipeline_name, pipeline_task_name"),
                        "{{pipeline_name}} {{pipeline_task_name}}",
                    ),
                ),
            ),
            Panel(
                "Reported result differs from the observed one",
                ((events("pipeline.task.result_mismatch"), ""),),
                "logs",
                source=LOKI,
                width=24,
            ),
        ],
    ),
    "task": (
        "Task",
        VARIABLES,
        [
            Panel(
                "Memory and its limit",
                (
                    (
                        (
                            "sum by (pipeline_task_name) "
                            f"(pipeline_task_memory_usage_bytes{{{SELECTED}}})"
                        ),
                        "{{pipeline_task_name}}",
                    ),
                    (
                        (
                            "max by (pipeline_task_name) "
                            f"(pipeline_task_memory_limit_bytes{{{SELECTED}}})"
                        ),
                        "limit of {{pipeline_task_name}}",
                    ),
                ),
                unit="bytes",
                width=24,
            ),
            Panel(
                "Processes",
                (
                    (
                        f"sum by (pipeline_task_name) (pipeline_task_process_count{{{SELECTED}}})",
                        "{{pipeline_task_name}}",
                    ),
                ),
            ),
            Panel(
                "CPU time of ended processes",
                (
                    (
                        rate(
                            "pipeline_task_cpu_time_seconds_total", "pipeline_task_name, cpu_mode"
                        ),
                        "{{pipeline_task_name}} {{cpu_mode}}",
                    ),
                ),
                unit="s",
            ),
            Panel(
                "Storage",
                (
                    (
                        rate(
                            "pipeline_task_disk_io_bytes_total",
                            "pipeline_task_name, disk_io_direction",
                        ),
                        "{{pipeline_task_name}} {{disk_io_direction}}",
                    ),
                ),
                unit="bytes",
            ),
            Panel(
                "Network",
                (
                    (
                        rate(
                            "pipeline_task_network_io_bytes_total",
                            "pipeline_task_name, network_io_direction",
                        ),
                        "{{pipeline_task_name}} {{network_io_direction}}",
                    ),
                ),
                unit="bytes",
            ),
            Panel(
                "Processes ended by a signal",
                (
                    (
                        rate(
                            "pipeline_task_signals_total", "pipeline_task_name, process_signal_name"
                        ),
                        "{{pipeline_task_name}} {{process_signal_name}}",
                    ),
                ),
            ),
            Panel(
                "Calls that failed",
                (
                    (
                        rate("pipeline_task_failed_calls_total", "pipeline_task_name, error_type"),
                        "{{pipeline_task_name}} {{error_type}}",
                    ),
                ),
            ),
            Panel(
                "Partially written files",
                ((events("file.partial_write", ' | pipeline_task_name=~"$task"'), ""),),
                "logs",
                source=LOKI,
            ),
            Panel(
                "Connections",
                (
                    (
                        (
                            f'{LOGS} | pipeline_task_name=~"$task" | '
                            'event_name=~"network.connection.*"'
                        ),
                        "",
                    ),
                ),
                "logs",
                source=LOKI,
            ),
            Panel(
                "All findings",
                ((f'{LOGS} | pipeline_task_name=~"$task" | severity_number>=13', ""),),
                "logs",
                source=LOKI,
                width=24,
            ),
        ],
    ),
    "incidents": (
        "Incidents",
        VARIABLES[:1],
        [
            Panel(
                "Incidents by cause",
                (
                    (
                        (
                            "sum by (pipeline_incident_cause) "
                            '(increase(pipeline_incidents_total{pipeline_name=~"$pipeline"}[$__range]))'
                        ),
                        "{{pipeline_incident_cause}}",
                    ),
                ),
                "stat",
                width=24,
                height=5,
            ),
            Panel(
                "Reports of opened incidents",
                ((events("pipeline.incident.opened"), ""),),
                "logs",
                source=LOKI,
                width=24,
                height=12,
            ),
            Panel(
                "Hypotheses and evidence",
                (
                    (
                        (
                            f"{LOGS} | "
                            'event_name=~"pipeline.incident.hypothesis|pipeline.incident.evidence"'
                        ),
                        "",
                    ),
                ),
                "logs",
                source=LOKI,
                width=24,
            ),
            Panel(
                "Killed by the OOM killer",
                ((events("process.oom_killed"), ""),),
                "logs",
                source=LOKI,
            ),
            Panel(
                "Killed by another process", ((events("process.killed"), ""),), "logs", source=LOKI
            ),
            Panel(
                "Hangs and stalled connections",
                (
                    (
                        (
                            f"{LOGS} | "
                            'event_name=~"process.hang|network.connection.stalled|network.connection.exhausted"'
                        ),
                        "",
                    ),
                ),
                "logs",
                source=LOKI,
            ),
            Panel(
                "Partially written files and their readers",
                (
                    (
                        (
                            f"{LOGS} | "
                            'event_name=~"file.partial_write|file.tainted_read|file.conflict"'
                        ),
                        "",
                    ),
                ),
                "logs",
                source=LOKI,
            ),
        ],
    ),
    "kwitness": (
        "kwitness itself",
        (),
        [
            Panel(
                "Kernel events",
                (
                    (
                        (
                            "sum by (host_name, pipeline_observer_event_kind) "
                            "(rate(pipeline_observer_events_total[$__rate_interval]))"
                        ),
                        "{{host_name}} {{pipeline_observer_event_kind}}",
                    ),
                ),
            ),
            Panel(
                "Lost",
                (
                    (
                        (
                            "sum by (host_name, pipeline_observer_event_kind, "
                            "pipeline_observer_loss_reason) "
                            "(increase(pipeline_observer_events_lost_total[$__rate_interval]))"
                        ),
                        (
                            "{{host_name}} {{pipeline_observer_event_kind}} "
                            "{{pipeline_observer_loss_reason}}"
                        ),
                    ),
                ),
                about="must be 0; every loss is also a log record",
            ),
            Panel(
                "Delay from kernel event to read, 99%",
                (
                    (
                        (
                            "histogram_quantile(0.99, sum by (le, host_name) "
                            "(rate(pipeline_observer_lag_seconds_bucket[$__rate_interval])))"
                        ),
                        "{{host_name}}",
                    ),
                ),
                unit="s",
            ),
            Panel(
                "Exported",
                (
                    (
                        (
                            "sum by (host_name) "
                            "(rate(otel_sdk_exporter_log_exported_total[$__rate_interval]))"
                        ),
                        "{{host_name}} logs",
                    ),
                    (
                        (
                            "sum by (host_name) "
                            "(rate(otel_sdk_exporter_span_exported_total[$__rate_interval]))"
                        ),
                        "{{host_name}} spans",
                    ),
                ),
            ),
            Panel(
                "Queued for export",
                (
                    (
                        "sum by (host_name) (otel_sdk_processor_log_queue_size)",
                        "{{host_name}} logs",
                    ),
                    (
                        "sum by (host_name) (otel_sdk_processor_span_queue_size)",
                        "{{host_name}} spans",
                    ),
                ),
            ),
            Panel(
                "Dropped from full queues and tables",
                (
                    (
                        (
                            "sum by (host_name) "
                            "(increase(pipeline_observer_queue_dropped_total[$__rate_interval]))"
                        ),
                        "{{host_name}} queue",
                    ),
                    (
                        (
                            "sum by (host_name, pipeline_observer_loss_reason) "
                            "(increase(pipeline_observer_drops_total[$__rate_interval]))"
                        ),
                        "{{host_name}} {{pipeline_observer_loss_reason}}",
                    ),
                ),
            ),
            Panel(
                "Time spent on samples",
                (
                    (
                        (
                            "sum by (host_name) "
                            "(rate(pipeline_observer_sample_time_seconds_total[$__rate_interval]))"
                        ),
                        "{{host_name}}",
                    ),
                ),
                unit="percentunit",
            ),
            Panel(
                "The Collector's queues",
                (("sum by (exporter) (otelcol_exporter_queue_size)", "{{exporter}}"),),
            ),
            Panel(
                "Lost events",
                (('{service_name="kwitness"} | event_name="pipeline.observer.events_lost"', ""),),
                "logs",
                source=LOKI,
                width=24,
            ),
        ],
    ),
}


def dashboard(name: str) -> dict[str, Any]:
    title, variables, panels = DASHBOARDS[name]
    x = y = row = 0
    laid: list[dict[str, Any]] = []
    for number, panel in enumerate(panels, 1):
        if x + panel.width > 24:
            x, y, row = 0, y + row, 0
        laid.append(panel.json(number, x, y))
        x, row = x + panel.width, max(row, panel.height)
    return {
        "uid": f"kwitness-{name}",
        "title": title,
        "tags": ["kwitness"],
        "schemaVersion": 41,
        "version": 1,
        "editable": True,
        "time": {"from": "now-1h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": list(variables)},
        "panels": laid,
        "links": [
            {
                "type": "dashboards",
                "tags": ["kwitness"],
                "title": "kwitness",
                "asDropdown": False,
                "includeVars": True,
                "keepTime": True,
            }
        ],
    }


def main() -> None:
    HERE.mkdir(parents=True, exist_ok=True)
    for name in DASHBOARDS:
        (HERE / f"{name}.json").write_text(json.dumps(dashboard(name), indent=1) + "\n")


if __name__ == "__main__":
    main()
