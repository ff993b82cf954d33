"""kwitness itself: events, losses, cost and exporters."""

from __future__ import annotations

from tools.dashboard_pages.parts import LOKI, Dashboard, Panel

KWITNESS: Dashboard = (
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
)
