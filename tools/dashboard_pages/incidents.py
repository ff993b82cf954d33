"""Incidents: their causes and the reports."""

from __future__ import annotations

from tools.dashboard_pages.parts import LOGS, LOKI, VARIABLES, Dashboard, Panel, events

INCIDENTS: Dashboard = (
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
        Panel("Killed by another process", ((events("process.killed"), ""),), "logs", source=LOKI),
        Panel(
            "Hangs and stalled connections",
            (
                (
                    (
                        f"{LOGS} | "
                        'event_name=~"process.hang|network.connection.stalled|'
                        'network.connection.exhausted"'
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
                    (f'{LOGS} | event_name=~"file.partial_write|file.tainted_read|file.conflict"'),
                    "",
                ),
            ),
            "logs",
            source=LOKI,
        ),
    ],
)
