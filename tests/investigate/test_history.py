"""What earlier runs were like, as values. How they are stored: tests/state."""

from __future__ import annotations

import msgspec

from receiver.investigate.entries import PLACE_BYTES, UNKNOWN_OWNER, RunSummary, Sighting
from receiver.investigate.history import (
    ENOUGH,
    KEPT_BYTES,
    SIGNATURES,
    TASKS,
    History,
    place,
    signature,
    usual,
)
from receiver.model import NOBODY
from tests.builders import Story, airflow

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


def sighting(signature: str, at: int, *, owner: int = 1000) -> Sighting:
    return Sighting(
        signature=signature,
        cause="c",
        count=1,
        first_unix_ns=at,
        last_unix_ns=at,
        last_run=f"r{at}",
        owner=owner,
    )


def key(task: str, uid: int) -> tuple[str, str, str]:
    return (f"airflow of uid {uid}", "etl", task)


def test_the_runs_of_one_user_take_no_room_from_another() -> None:
    history = History()
    for number in range(20):
        history.add(key(f"mine{number}", 1002), run(number))
    for number in range(TASKS + 500):
        history.add(key(f"t{number}", 1001), run(number))
    mine = [task for task in history.tasks if task[0] == "airflow of uid 1002"]
    assert len(mine) == 20
    assert len(history.tasks) == TASKS
    assert history.drops["forgotten_task"] == 520


def test_large_runs_take_more_of_the_users_own_room() -> None:
    """A path may have 4,096 bytes, so a number of runs alone is no bound."""
    history = History()
    large = msgspec.structs.replace(run(1), outputs={"x" * 3000 + str(n): 1 for n in range(64)})
    history.add(key("mine", 1002), run(1))
    for number in range(TASKS):
        history.add(key(f"t{number}", 1001), large)
    assert len(history.tasks) <= TASKS * PLACE_BYTES // large.size_bytes + 1
    assert key("mine", 1002) in history.tasks


def test_a_run_keeps_names_of_a_bounded_size() -> None:
    story = Story()
    history = story.core.history = History()
    task = story.spawn(NOBODY, "python3", environ=airflow())
    for number in range(60):
        story.writes(task, f"/data/{chr(97 + number) * 4000}/{chr(98 + number)}", inode=number + 1)
    story.exit(task)
    story.tick(70)
    story.tick(70)
    ((found,),) = history.tasks.values()
    assert found.size_bytes <= KEPT_BYTES + 64 * 3 * 16 + 600
    assert story.core.executions is not None


def test_the_failures_of_one_user_are_not_seen_in_the_work_of_another() -> None:
    history = History()
    for at in range(3):
        history.saw(sighting("abc", at, owner=1001))
    assert history.saw(sighting("abc", 9, owner=1002)) is None
    own = history.saw(sighting("abc", 10, owner=1002))
    assert own is not None and (own.count, own.last_run) == (1, "r9")
    for number in range(SIGNATURES + 10):
        history.saw(sighting(f"s{number}", number, owner=1001))
    assert history.seen("abc", 1002) is not None and history.seen("abc", 1001) is None
    assert history.drops["forgotten_sighting"] == 12


def test_what_version_0_1_saw_counts_for_everybody() -> None:
    history = History()
    history.remember_sighting(sighting("abc", 1, owner=UNKNOWN_OWNER))
    assert history.note("abc", "more memory")
    history.saw(sighting("abc", 2, owner=1001))
    known = history.seen("abc", 1001)
    assert known is not None and (known.count, known.note) == (2, "more memory")


def test_what_is_loaded_late_comes_before_what_was_added_since() -> None:
    earlier, now = History(), History()
    for number in range(3):
        earlier.add(KEY, run(number))
        now.add(KEY, run(10 + number))
    earlier.saw(sighting("abc", 5))
    earlier.saw(sighting("abc", 6))
    earlier.note("abc", "more memory")
    now.saw(sighting("abc", 9))
    now.absorb(earlier)
    assert [r.run_id for r in now.tasks[KEY]] == ["r0", "r1", "r2", "r10", "r11", "r12"]
    seen = now.sightings["abc of uid 1000"]
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
