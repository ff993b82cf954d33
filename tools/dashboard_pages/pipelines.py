"""All pipelines: what runs, what failed, and what it used."""

from __future__ import annotations

from tools.dashboard_pages.parts import (
    LOKI,
    SELECTED,
    VARIABLES,
    Dashboard,
    Panel,
    events,
    quantile,
    rate,
)

PIPELINES: Dashboard = (
    "Pipelines",
    VARIABLES,
    [
        Panel(
            "Runs that ended",
            (
                (
                    (
                        "sum by (pipeline_run_result) "
                        "(increase(pipeline_run_duration_seconds_count"
                        '{pipeline_name=~"$pipeline"}[$__range]))'
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
                    (f"sum(count_over_time({events('pipeline.task.result_mismatch')} [$__range]))"),
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
)
