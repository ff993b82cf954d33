"""docs/performance.md from the results."""

from __future__ import annotations

from pathlib import Path

Results = dict[str, dict[str, float]]


def write(path: Path, results: Results, machine: str) -> None:
    r = results
    rows = [
        (
            "kwitness's CPU per lifecycle event, from ring to OTLP bytes, default policy",
            f"{r['sustained']['our_cpu_us_per_event']:.1f} µs",
            "≤ 20 µs",
        ),
        (
            "the same with a log record for every exit",
            f"{r['sustained_every_exit']['our_cpu_us_per_event']:.1f} µs",
            "≤ 20 µs",
        ),
        (
            "of which the core and encoding, default policy",
            f"{r['core_cost']['default_us']:.1f} µs",
            "",
        ),
        (
            "of which the core and encoding, a log record for every exit",
            f"{r['core_cost']['every_exit_logged_us']:.1f} µs",
            "",
        ),
        ("of which reading the ring", f"{r['drain_rate']['us_per_record']:.1f} µs", ""),
        (
            f"events lost at {r['sustained']['lifecycles_per_second']:.0f} lifecycles/s for 20 s",
            f"{r['sustained']['lost']:.0f}",
            "0, or counted",
        ),
        (
            f"events lost at {r['sustained_every_exit']['lifecycles_per_second']:.0f} lifecycles/s, a log record for every exit",
            f"{r['sustained_every_exit']['lost']:.0f}",
            "0, or counted",
        ),
        (
            "kwitness's share of one core in that storm",
            f"{r['sustained']['our_cpu_share_of_one_core']:.0%}",
            "",
        ),
        ("start to attached", f"{r['startup']['attach_seconds']:.2f} s", "≤ 1 s"),
        (
            "`kwitness run -- true` adds",
            f"{r['startup']['run_true_adds_seconds']:.2f} s",
            "≤ 0.5 s",
        ),
        ("RSS at rest, gRPC exporter loaded", f"{r['memory']['idle_mib']:.0f} MiB", "≤ 100 MB"),
        (
            f"RSS with {r['memory']['live_processes']:.0f} living attributed processes",
            f"{r['memory']['with_10000_live_mib']:.0f} MiB",
            "≤ 100 MB",
        ),
        (
            "RSS after these were killed at once, and after 100,000 short processes",
            f"{r['memory']['after_100000_short_mib']:.0f} MiB",
            "≤ 100 MB",
        ),
        (
            "the same without a Collector, while the queues fill",
            f"{r['memory_collector_away']['after_100000_short_mib']:.0f} MiB",
            "",
        ),
        (
            f"report on a timeline of {r['reporting']['facts']:.0f} facts, after the last fact",
            f"{r['reporting']['report_seconds']:.2f} s",
            "≤ 1 s",
        ),
        (
            "insights instance: event records per second, by gRPC, on a core of its own",
            f"{r['insights_service']['records_per_second']:.0f}",
            "",
        ),
        ("of which CPU per record", f"{r['insights_service']['us_of_cpu_per_record']:.1f} µs", ""),
        (
            "the same instance, uvloop over asyncio: records per second, CPU per record",
            "{records_per_second_ratio:.2f}, {cpu_ratio:.2f}".format(**r["event_loops"]),
            "",
        ),
        ("a conclusion across two hosts", f"{r['insights']['us_per_conclusion']:.0f} µs", ""),
        ("log record of 15 attributes, 10 shared", f"{r['encoding']['ours_us']:.1f} µs", "≤ 8 µs"),
        (
            "the same through the generated protobuf classes",
            f"{r['encoding']['protobuf_us']:.1f} µs, ratio {r['encoding']['ratio']:.1f}",
            "",
        ),
    ]
    lines = [
        "# Performance",
        "",
        "Written by `make bench`; do not edit. The times allow comparisons on one machine. They do not predict another machine.",
        "",
        f"Machine: Linux {machine}.",
        "",
        "| what | measured | goal |",
        "|---|---|---|",
        *(f"| {a} | {b} | {c} |" for a, b, c in rows),
        "",
        *overhead_lines(r["overhead"]),
        *real_lines(r["real"]),
        "`tests/bench/` shows how each figure is measured. `sustained` runs the whole service in its own process, twice, during a",
        "storm at a fixed rate. It divides the user and system time of the service by the events that it read. The time is that of",
        "the better run; losses are those of both runs. With the *default policy*, a process that lives for less than 10 ms gets no",
        "span of its own, and its parent's span counts it.",
        "",
    ]
    path.write_text("\n".join(lines))


CONDITIONS = ("nothing twice", "idle", "floor", "inside", "inside / floor", "bpftrace")


def overhead_lines(found: dict[str, float]) -> list[str]:
    kinds = list(dict.fromkeys(name.split(" | ")[0] for name in found if " | " in name))
    rows = [
        "| "
        + " | ".join(
            [kind, *(f"{found.get(f'{kind} | {c}', float('nan')):.3f}" for c in CONDITIONS)]
        )
        + " |"
        for kind in kinds
    ]
    return [
        "## What watching a task costs the task",
        "",
        "The figures are ratios: the time of a storm under a condition, divided by its time without any eBPF program. Each time is the",
        "fastest of 40 runs, on a core of its own.",
        "",
        "- *nothing twice*: the storm without any eBPF program, measured a second time. It shows the error of the measurement.",
        "- *idle*: the service runs and watches no task; system calls are not hooked.",
        "- *floor*: empty programs on the hooks that kwitness attaches while it watches a task. It shows the cost of the hooks alone.",
        "- *inside*: the storm is a watched task. kwitness reports up to 256 files by name, sums for all files, and every connection.",
        "- *bpftrace*: `tests/bench/peer.bt`, which asks the same questions with bpftrace.",
        "",
        "The goals are inside / floor at most 1.3, inside less than bpftrace, and idle at most 1.005.",
        "",
        "| storm | nothing twice | idle | floor | inside | inside / floor | bpftrace |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        (
            f"*inside*, per round of all storms: {found['inside: our CPU seconds']:.2f} s of kwitness's CPU for {found['inside: events']:.0f} events, "
            f"{found['inside: lost']:.0f} lost in all rounds. *idle*: {found['idle: our CPU seconds']:.2f} s."
        ),
        "",
    ]


def real_lines(found: dict[str, float]) -> list[str]:
    if not found:
        return [
            "Real pipelines were not measured in this run: KWITNESS_BENCH_VENV names no environment with dbt (tests/bench/real.py).",
            "",
        ]
    kinds = list(dict.fromkeys(name.split(" | ")[0] for name in found))
    rows = [
        f"| {k} | {found[f'{k} | seconds']:.1f} s | {found[f'{k} | cpu ratio']:.3f} | {found[f'{k} | wall ratio']:.3f} | "
        f"{found[f'{k} | our CPU seconds']:.2f} s | {found[f'{k} | events']:.0f} | {found[f'{k} | lost']:.0f} |"
        for k in kinds
    ]
    return [
        "## Real pipelines as watched tasks",
        "",
        "The figures are ratios: with kwitness, divided by without it. Each is the fastest of three runs, in changing order. The goal is",
        "at most 1.01. Equal runs differ by several per cent on this machine, as a ratio below one shows. These ratios can therefore not",
        "show a difference of one per cent. kwitness's own CPU, compared with the CPU of the pipeline, is more reliable.",
        "",
        "| pipeline | duration | its CPU, ratio | its wall time, ratio | kwitness's CPU | events | lost |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
    ]
