"""One task: its attempts, its findings and its processes."""

from __future__ import annotations

from tools.dashboard_pages.parts import (
    LOGS,
    LOKI,
    SELECTED,
    VARIABLES,
    Dashboard,
    Panel,
    events,
    rate,
)

TASK: Dashboard = (
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
                    rate("pipeline_task_cpu_time_seconds_total", "pipeline_task_name, cpu_mode"),
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
                    rate("pipeline_task_signals_total", "pipeline_task_name, process_signal_name"),
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
                    (f'{LOGS} | pipeline_task_name=~"$task" | event_name=~"network.connection.*"'),
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
)
