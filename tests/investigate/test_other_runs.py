"""A run is compared with its others: partitions, earlier runs, earlier incidents."""

from __future__ import annotations

from tests.investigate.telling import cause_of, with_history


def test_a_partition_is_weighed_against_the_others_of_the_run_and_of_earlier_ones() -> None:
    story = with_history()
    for run in range(2):
        root = story.command("bash", "job.sh")
        step = story.spawn(root, "python3", "load.py")
        sizes = (100, 110, 95) if run == 0 else (900,)
        for number, size in enumerate(sizes):
            story.reads(
                step,
                f"/data/day={run}{number}/p.csv",
                inode=100 + run * 10 + number,
                size=size << 20,
            )
        if run:
            story.oom(step)
            story.exit(step, signal=9)
            story.exit(root, 137)
        else:
            story.exit(step)
            story.exit(root)
            story.tick()
    story.tick()
    report = list(story.core.incidents.reports.values())[-1]
    text = " ".join(e.text for e in report.hypotheses[0].weighed)
    assert (
        cause_of(report) == "mem.cgroup_oom"
        and "day=10: 900.0 MiB, which is 9.0 times the median of" in text
    )


def test_a_run_beyond_its_own_history_is_slow_and_one_within_is_not() -> None:
    story = with_history()
    verdicts = []
    for seconds in (2, 2.2, 1.9, 2.1, 2, 2.05, 9):
        root = story.command("bash", "job.sh", name="same")
        story.exit(root, after_ms=seconds * 1000)
        story.tick()
        report = list(story.core.incidents.reports.values())[-1]
        verdicts.append([s.text for s in report.symptoms])
    assert not any(verdicts[:-1])
    assert "All of its last 6 runs took less" in verdicts[-1][0]


def test_an_incident_that_comes_again_says_how_often_and_what_was_noted() -> None:
    story = with_history()
    assert story.core.history is not None
    for _ in range(3):
        root = story.command("bash", "job.sh", name="same")
        step = story.spawn(root, "python3", "load.py")
        story.oom(step)
        story.exit(step, signal=9)
        story.exit(root, 137)
        story.tick()
        report = list(story.core.incidents.reports.values())[-1]
        story.core.history.note(report.signature, "limit raised to 2 GiB")
    assert report.seen_before == 2
    assert "seen 2 times since" in report.answers.seen_before
    assert report.answers.seen_before.endswith("the fix noted then: limit raised to 2 GiB")
