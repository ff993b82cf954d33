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
        ("the same with a log record for every exit", f"{r['sustained_every_exit']['our_cpu_us_per_event']:.1f} µs", "≤ 20 µs"),
        ("of it the core and encoding alone, default policy", f"{r['core_cost']['default_us']:.1f} µs", ""),
        ("of it the core and encoding alone, a log record for every exit", f"{r['core_cost']['every_exit_logged_us']:.1f} µs", ""),
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
        ("our share of one core in that storm", f"{r['sustained']['our_cpu_share_of_one_core']:.0%}", ""),
        ("start to attached", f"{r['startup']['attach_seconds']:.2f} s", "≤ 1 s"),
        ("`kwitness run -- true` adds", f"{r['startup']['run_true_adds_seconds']:.2f} s", "≤ 0.5 s"),
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
        ("the same with the Collector away, queues filling", f"{r['memory_collector_away']['after_100000_short_mib']:.0f} MiB", ""),
        ("log record of 15 attributes, 10 shared", f"{r['encoding']['ours_us']:.1f} µs", "≤ 8 µs"),
        (
            "the same through the generated protobuf classes",
            f"{r['encoding']['protobuf_us']:.1f} µs, ratio {r['encoding']['ratio']:.1f}",
            "",
        ),
    ]
    s = r["slowdown"]
    slow = [
        (name, f"{s[f'{key}_ratio_hooks_only']:.2f}", f"{s[f'{key}_ratio_with_service']:.2f}")
        for name, key in (("fork + exit", "fork"), ("fork + exec + exit", "exec"), ("open + close", "open_close"))
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
        "## What observing costs the observed",
        "",
        "A storm that does nothing else, with and without kwitness next to each other, the median of twelve pairs' ratios. *Hooks only*: programs",
        "attached, a ring nobody reads. *With service*: `kwitness events --json` decodes and prints every event of the machine on the",
        "same two cores, so it also competes for them.",
        "",
        "| storm | hooks only | with service |",
        "|---|---|---|",
        *(f"| {a} | {b} | {c} |" for a, b, c in slow),
        "",
        "How each figure is made stands in `tests/bench/`: `sustained` runs the whole service in a process of its own against a",
        "storm at a fixed rate, twice, and divides its user and system time by the events it read (the better run; losses are of both);",
        "*default policy* folds processes shorter",
        "than 10 ms into their parent's span, as the service does unless told otherwise.",
        "",
    ]
    path.write_text("\n".join(lines))
