"""docs/performance.md from the results."""

from __future__ import annotations

from pathlib import Path

Results = dict[str, dict[str, float]]


def write(path: Path, results: Results, machine: str) -> None:
    r = results
    rows = [
        (
            "our CPU per lifecycle event, ring to OTLP bytes, default policy",
            f"{r['sustained']['our_cpu_us_per_event']:.1f} µs",
            "≤ 20 µs",
        ),
        (
            "the same with a log record for every exit",
            f"{r['sustained_every_exit']['our_cpu_us_per_event']:.1f} µs",
            "≤ 20 µs",
        ),
        (
            "of it the core and encoding alone, default policy",
            f"{r['core_cost']['default_us']:.1f} µs",
            "",
        ),
        (
            "of it the core and encoding alone, a log record for every exit",
            f"{r['core_cost']['every_exit_logged_us']:.1f} µs",
            "",
        ),
        ("of it draining", f"{r['drain_rate']['us_per_record']:.1f} µs", ""),
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
            "our share of one core in that storm",
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
            "RSS after those were killed at once, and 100,000 short ones",
            f"{r['memory']['after_100000_short_mib']:.0f} MiB",
            "≤ 100 MB",
        ),
        (
            "the same with the Collector away, queues filling",
            f"{r['memory_collector_away']['after_100000_short_mib']:.0f} MiB",
            "",
        ),
        (
            f"report on a timeline of {r['reporting']['facts']:.0f} facts, after its last",
            f"{r['reporting']['report_seconds']:.2f} s",
            "≤ 1 s",
        ),
        (
            "insights instance: event records a second, by gRPC, a core of its own",
            f"{r['insights_service']['records_per_second']:.0f}",
            "",
        ),
        ("of it CPU per record", f"{r['insights_service']['us_of_cpu_per_record']:.1f} µs", ""),
        (
            "the same instance on uvloop / on asyncio's own loop: records a second, CPU per record",
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
        "Written by `make bench`; do not edit. Times are good for ratios on one machine, not for promises about another.",
        "",
        f"Machine: Linux {machine}.",
        "",
        "| what | measured | to reach |",
        "|---|---|---|",
        *(f"| {a} | {b} | {c} |" for a, b, c in rows),
        "",
        *overhead_lines(r["overhead"]),
        *real_lines(r["real"]),
        "How each figure is made stands in `tests/bench/`: `sustained` runs the whole service in a process of its own against a",
        "storm at a fixed rate, twice, and divides its user and system time by the events it read (the better run; losses are of both);",
        "*default policy* folds processes shorter",
        "than 10 ms into their parent's span, as the service does unless told otherwise.",
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
        "Time of a storm under each condition over its time under nothing, the fastest of 40 runs each, on a core of its own. *Nothing twice*:",
        "how far that can be trusted. *Idle*: the service runs and watches nobody, system calls are not hooked. *Floor*: empty programs on",
        "the hooks that we hold inside a binding: what this kernel takes whoever asks. *Inside*: the storm is a watched task, with names for",
        "256 files, sums for all, every connection, and the service reading. *bpftrace*: `tests/bench/peer.bt`, the same questions there.",
        "To reach: inside / floor at most 1.3, and less than bpftrace; idle at most 1.005.",
        "",
        "| storm | nothing twice | idle | floor | inside | inside / floor | bpftrace |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        (
            f"Inside, per round of all storms: {found['inside: our CPU seconds']:.2f} s of our CPU for {found['inside: events']:.0f} events, "
            f"{found['inside: lost']:.0f} lost in all rounds. Idle: {found['idle: our CPU seconds']:.2f} s."
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
        "## Real pipelines inside a binding",
        "",
        "With over without, the fastest of three each, in changing order. To reach: at most 1.01. Runs that are equal differ by several per cent",
        "on this machine (a ratio below one shows it), so these ratios bound nothing that small; our own CPU over theirs is the firmer figure.",
        "",
        "| pipeline | takes | its CPU, ratio | its wall time, ratio | our CPU | events | lost |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
    ]
