"""What earlier runs were like, as values. How they are stored: tests/state."""

from __future__ import annotations

from receiver.investigate.entries import RunSummary, Sighting
from receiver.investigate.history import ENOUGH, History, place, signature, usual

KEY = ("airflow", "etl", "load")


def run(number: int, *, seconds: float = 2.0, failed: bool = False) -> RunSummary:
    return RunSummary(
        ended_unix_ns=number * 10**9,
        run_id=f"r{number}",
        seconds=seconds,
        failed=failed,
        end="",
        peak_bytes=1 << 20,
        processes=3,
        shape="s",
        outputs={"/data/out": 100},
        partitions={"day=1": 50},
    )


def test_what_is_loaded_late_comes_before_what_was_added_since() -> None:
    earlier, now = History(), History()
    for number in range(3):
        earlier.add(KEY, run(number))
        now.add(KEY, run(10 + number))
    earlier.saw("abc", "c", 5, "r5")
    earlier.saw("abc", "c", 6, "r6")
    earlier.note("abc", "more memory")
    now.saw("abc", "c", 9, "r9")
    now.absorb(earlier)
    assert [r.run_id for r in now.tasks[KEY]] == ["r0", "r1", "r2", "r10", "r11", "r12"]
    seen = now.sightings["abc"]
    assert (seen.count, seen.first_unix_ns, seen.last_run, seen.note) == (3, 5, "r9", "more memory")
    assert [x.count for x in now.take() if isinstance(x, Sighting)] == [
        3
    ]  # what is stored is the sum


def test_what_is_usual_is_robust_and_needs_enough_runs() -> None:
    assert usual([]) is None
    few = usual([1.0] * (ENOUGH - 1))
    many = usual([1.0, 1.1, 0.9, 1.0, 1.05, 9.0])
    assert few is not None and many is not None
    assert not few.is_far_above(100.0)  # it is not known what is usual
    assert not many.is_far_above(8.0)  # it has been that slow before
    assert many.is_far_above(10.0)


def test_places_and_signatures_repeat_from_run_to_run() -> None:
    assert place("/tmp/job-x1/out/2024-01-15/part-3.csv") == place(
        "/tmp/job-y2/out/2023-12-01/part-11.csv"
    )
    assert place("/data/a.csv") != place("/data/b.csv")
    one = signature("mem.cgroup_oom", "load", "python3", "oom_killed", ["exit", "oom_kill", "exit"])
    assert (
        one == signature("mem.cgroup_oom", "load", "python3", "oom_killed", ["oom_kill", "exit"])
        and len(one) == 16
    )
