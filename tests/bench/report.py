"""docs/performance.md from the results."""

from __future__ import annotations

from pathlib import Path

Results = dict[str, dict[str, float]]


# the label, the value and the goal: formats for the results
ROWS = (
    (
        "kwitness's CPU per lifecycle event, from ring to OTLP bytes, default policy",
        "{sustained[our_cpu_us_per_event]:.1f} µs",
        "≤ 20 µs",
    ),
    (
        "the same with a log record for every exit",
        "{sustained_every_exit[our_cpu_us_per_event]:.1f} µs",
        "≤ 20 µs",
    ),
    (
        "of which the core and encoding, default policy",
        "{core_cost[default_us]:.1f} µs",
        "",
    ),
    (
        "of which the core and encoding, a log record for every exit",
        "{core_cost[every_exit_logged_us]:.1f} µs",
        "",
    ),
    ("of which reading the ring", "{drain_rate[us_per_record]:.1f} µs", ""),
    (
        "events lost at {sustained[lifecycles_per_second]:.0f} lifecycles/s for 20 s",
        "{sustained[lost]:.0f}",
        "0, or counted",
    ),
    (
        (
            "events lost at {sustained_every_exit[lifecycles_per_second]:.0f} "
            "lifecycles/s, a log record for every exit"
        ),
        "{sustained_every_exit[lost]:.0f}",
        "0, or counted",
    ),
    (
        "kwitness's share of one core in that storm",
        "{sustained[our_cpu_share_of_one_core]:.0%}",
        "",
    ),
    ("start to attached", "{startup[attach_seconds]:.2f} s", "≤ 1 s"),
    (
        "`kwitness run -- true` adds",
        "{startup[run_true_adds_seconds]:.2f} s",
        "≤ 0.5 s",
    ),
    ("RSS at rest, gRPC exporter loaded", "{memory[idle_mib]:.0f} MiB", "≤ 100 MB"),
    (
        "RSS with {memory[live_processes]:.0f} living attributed processes",
        "{memory[with_10000_live_mib]:.0f} MiB",
        "≤ 100 MB",
    ),
    (
        "RSS after these were killed at once, and after 100,000 short processes",
        "{memory[after_100000_short_mib]:.0f} MiB",
        "≤ 100 MB",
    ),
    (
        "the same without a Collector, while the queues fill",
        "{memory_collector_away[after_100000_short_mib]:.0f} MiB",
        "",
    ),
    (
        "report on a timeline of {reporting[facts]:.0f} facts, after the last fact",
        "{reporting[report_seconds]:.2f} s",
        "≤ 1 s",
    ),
    (
        "insights instance: event records per second, by gRPC, on a core of its own",
        "{insights_service[records_per_second]:.0f}",
        "",
    ),
    ("of which CPU per record", "{insights_service[us_of_cpu_per_record]:.1f} µs", ""),
    (
        "the same instance, uvloop over asyncio: records per second, CPU per record",
        "{event_loops[records_per_second_ratio]:.2f}, {event_loops[cpu_ratio]:.2f}",
        "",
    ),
    ("a conclusion across two hosts", "{insights[us_per_conclusion]:.0f} µs", ""),
    ("log record of 15 attributes, 10 shared", "{encoding[ours_us]:.1f} µs", "≤ 8 µs"),
    (
        "the same through the generated protobuf classes",
        "{encoding[protobuf_us]:.1f} µs, ratio {encoding[ratio]:.1f}",
        "",
    ),
)
HEAD = """# Performance

Written by `make bench`; do not edit. The times allow comparisons on one machine.
They do not predict another machine.

Machine: Linux {machine}.

| what | measured | goal |
|---|---|---|
"""
FOOT = """
`tests/bench/` shows how each figure is measured. `sustained` runs the whole service in its own
process, twice, during a storm at a fixed rate. It divides the user and system time of the service
by the events that it read. The time is that of the better run; losses are those of both runs. With
the *default policy*, a process that lives for less than 10 ms gets no span of its own, and its
parent's span counts it.
"""
OVERHEAD = """
## What watching a task costs the task

The figures are ratios: the time of a storm under a condition, divided by its time without any eBPF
program. Each time is the fastest of 40 runs, on a core of its own.

- *nothing twice*: the storm without any eBPF program, measured a second time. It shows the error of
  the measurement.
- *idle*: the service runs and watches no task; system calls are not hooked.
- *floor*: empty programs on the hooks that kwitness attaches while it watches a task. It shows the
  cost of the hooks alone.
- *inside*: the storm is a watched task. kwitness reports up to 256 files by name, sums for all
  files, and every connection.
- *bpftrace*: `tests/bench/peer.bt`, which asks the same questions with bpftrace.

The goals are inside / floor at most 1.3, inside less than bpftrace, and idle at most 1.005.

| storm | nothing twice | idle | floor | inside | inside / floor | bpftrace |
|---|---|---|---|---|---|---|
"""
REAL = """
## Real pipelines as watched tasks

The figures are ratios: with kwitness, divided by without it. Each is the fastest of three runs, in
changing order. The goal is at most 1.01. Equal runs differ by several per cent on this machine, as
a ratio below one shows. These ratios can therefore not show a difference of one per cent.
kwitness's own CPU, compared with the CPU of the pipeline, is more reliable.

| pipeline | duration | its CPU, ratio | its wall time, ratio | kwitness's CPU | events | lost |
|---|---|---|---|---|---|---|
"""
NOT_MEASURED = """
Real pipelines were not measured in this run: KWITNESS_BENCH_VENV names no environment with dbt
(tests/bench/real.py).
"""
CONDITIONS = ("nothing twice", "idle", "floor", "inside", "inside / floor", "bpftrace")


def write(path: Path, results: Results, machine: str) -> None:
    rows = (" | ".join(row).format_map(results) for row in ROWS)
    path.write_text(
        HEAD.format(machine=machine)
        + "".join(f"| {row} |\n" for row in rows)
        + overhead_text(results["overhead"])
        + real_text(results["real"])
        + FOOT
    )


def overhead_text(found: dict[str, float]) -> str:
    kinds = list(dict.fromkeys(name.split(" | ")[0] for name in found if " | " in name))
    rows = (
        [kind, *(f"{found.get(f'{kind} | {c}', float('nan')):.3f}" for c in CONDITIONS)]
        for kind in kinds
    )
    return (
        OVERHEAD
        + "".join(f"| {' | '.join(row)} |\n" for row in rows)
        + f"\n*inside*, per round of all storms: {found['inside: our CPU seconds']:.2f} s of "
        f"kwitness's CPU for {found['inside: events']:.0f} events, "
        f"{found['inside: lost']:.0f} lost in all rounds. "
        f"*idle*: {found['idle: our CPU seconds']:.2f} s.\n"
    )


def real_text(found: dict[str, float]) -> str:
    if not found:
        return NOT_MEASURED
    kinds = dict.fromkeys(name.split(" | ")[0] for name in found)
    return REAL + "".join(
        f"| {k} | {found[f'{k} | seconds']:.1f} s | {found[f'{k} | cpu ratio']:.3f} | "
        f"{found[f'{k} | wall ratio']:.3f} | {found[f'{k} | our CPU seconds']:.2f} s | "
        f"{found[f'{k} | events']:.0f} | {found[f'{k} | lost']:.0f} |\n"
        for k in kinds
    )
