"""The weights of clues that were counted: what the count moves, how far, and how it is judged."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver.investigate.weights import WEIGHTS
from tests.incidents.count import as_written, of_report
from tests.incidents.counted import COUNTED, Clue, Counted, Root, read, write
from tests.incidents.weigh import (
    ALL,
    ALL_KEPT,
    SPREAD,
    TABLE,
    counted,
    fit,
    fresh,
    held_out,
    log_loss,
    runs_with,
    shares,
    telling,
    written_table,
)

SEEN, OTHER = ("fs.lock.refused", 2.5), ("fs.lock.holder_seen", 2.5)
PLACE = ("place.path.on_it", 1.5)
WIDE = 0.5  # a prior that lets runs move a weight


def runs(right: int, wrong: int, clue: Clue = SEEN) -> list[Counted]:
    """Runs with this clue, and as many with another one, of which one half is right."""
    number = right + wrong
    told = [(clue, n < right) for n in range(number)]
    told += [(OTHER, n % 2 == 0) for n in range(number)]
    return [
        Counted(f"test/{n}-incident", f"scene{n}", (Root("fs.lock", truth, (each, PLACE)),))
        for n, (each, truth) in enumerate(told)
    ]


def test_a_clue_of_real_causes_gains_and_one_of_false_ones_loses() -> None:
    assert fit(runs(30, 0), WIDE)[SEEN] > 0.2
    assert fit(runs(5, 25), WIDE)[SEEN] < -0.5


def test_few_runs_move_a_weight_less_than_many() -> None:
    few, many = (fit(runs(0, n), WIDE)[SEEN] for n in (1, 30))
    assert many < few < 0 and abs(few) < 0.5


def test_a_narrow_prior_keeps_the_written_weight() -> None:
    assert abs(fit(runs(0, 5), 0.05)[SEEN]) < 0.05


def test_the_shares_of_the_roots_meet_what_was_counted() -> None:
    """With a wide prior, seven of ten right roots give a probability of 0.7."""
    group = runs(70, 30)
    shifts = fit(group, 10.0)
    assert shares(group[0], shifts)[0] == pytest.approx(0.7, abs=0.02)
    assert shares(group[100], shifts)[0] == pytest.approx(0.5, abs=0.02)
    loss = log_loss([(r, shifts) for r in group[:100]])
    assert loss == pytest.approx(0.611, abs=0.01)  # the entropy of 0.7


def test_a_clue_of_nearly_all_roots_keeps_its_written_weight() -> None:
    assert PLACE not in telling(runs(10, 10)) and SEEN in telling(runs(10, 10))
    assert PLACE not in fit(runs(10, 0), SPREAD)


def test_kept_recordings_do_not_make_all_roots_likelier() -> None:
    """Only runs with a right answer were kept: they do not show how often answers are right."""
    kept = [
        Counted(f"kept/{n}", "k", (Root("fs.lock", right=True, clues=(("a.b.c", 2.5), PLACE)),))
        for n in range(60)
    ]
    alone, both = fit(runs(10, 10), SPREAD), fit([*runs(10, 10), *kept], SPREAD)
    assert both[ALL] == pytest.approx(alone[ALL], abs=0.01)
    assert both[ALL_KEPT] > 1


def test_a_composition_is_judged_by_weights_of_the_others() -> None:
    strange = Counted("test/7-twin", "x", (Root("fs.lock", right=False, clues=(("a.b.c", 2.5),)),))
    judged = {run.run: shifts for run, shifts in fresh([*runs(12, 0), strange], SPREAD)}
    assert len(judged) == 25
    assert ("a.b.c", 2.5) not in judged["test/7-incident"]
    assert ("a.b.c", 2.5) in judged["test/8-incident"]


def test_a_scene_is_judged_by_weights_of_the_other_scenes() -> None:
    group = runs(12, 0)
    strange = Counted("test/x", "x", (Root("fs.lock", right=False, clues=(("a.b.c", 2.5),)),))
    judged = {run.run: shifts for run, shifts in held_out([*group, strange], SPREAD)}
    assert set(judged) == {r.run for r in (*group, strange)}
    assert ("a.b.c", 2.5) not in judged["test/x"] and ("a.b.c", 2.5) in judged["test/1-incident"]


def test_no_shift_turns_support_into_contradiction() -> None:
    assert counted(0.7, -3.0) == 0.1 and counted(-0.7, 3.0) == -0.1
    assert counted(0.7, 0.25) == 0.95


def test_a_run_counts_once_for_a_clue() -> None:
    right, wrong = Root("a.b", True, (SEEN, SEEN)), Root("a.c", False, (SEEN, PLACE))
    found = runs_with([Counted("test/0", "s", (right, wrong)), Counted("test/1", "s", (wrong,))])
    assert found == {SEEN: (1, 1), PLACE: (0, 2)}


def test_roots_are_compared_with_the_truth_by_class_and_culprit() -> None:
    hypothesis = {
        "cause": "fs.lock",
        "culprit": {"type": "process", "pid": 7},
        "weighed": [{"clue": "fs.lock.refused", "weight": 2.5}, {"clue": "", "weight": 0.0}],
    }
    truth = {"verdict": "incident", "cause": "fs.lock", "also_right": [], "culprit": {"pid": 7}}
    report = {"verdict": "incident", "hypotheses": [hypothesis]}
    found = of_report("test/0", "s", truth, report)
    assert found.roots == (Root("fs.lock", True, (SEEN,)),)
    for other in ({"culprit": {"pid": 8}}, {"cause": "fs.eacces"}, {"verdict": "not_visible"}):
        assert not of_report("test/0", "s", {**truth, **other}, report).roots[0].right


def test_what_costs_a_healthy_run_time_is_not_counted() -> None:
    truth = {"verdict": "healthy", "cause": "none.healthy", "also_right": [], "culprit": {}}
    assert of_report("test/0", "s", truth, {"verdict": "degraded", "hypotheses": []}).roots == ()


def test_counting_uses_the_weights_as_the_cards_write_them() -> None:
    assert WEIGHTS
    with as_written():
        assert not WEIGHTS
    assert WEIGHTS


def test_lines_are_kept_as_they_are(tmp_path: Path) -> None:
    write(reversed(runs(2, 1)), tmp_path / "counted.jsonl")
    assert read(tmp_path / "counted.jsonl") == runs(2, 1)


def test_the_table_is_what_the_counted_runs_give() -> None:
    """`make lint` compares it byte by byte."""
    text = written_table(read(COUNTED))
    assert text.splitlines()[0] == TABLE.read_text().splitlines()[0]
    assert not any(r.run.startswith("judging") for r in read(COUNTED))
