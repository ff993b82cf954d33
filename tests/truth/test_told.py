"""What the witnesses said is kept, counted, and written into a page beside what it has."""

from __future__ import annotations

from pathlib import Path

from tests.truth.check import Verdicts
from tests.truth.told import Told, count, kept, kind, put, save, saved, section, told


def runs() -> list[Told]:
    good = Verdicts(true=9, undecided=["It rained."])
    return [
        told("a twin", True, "incident", good),
        told("another twin", True, "healthy", Verdicts(true=3)),
        told("a fault", False, "incident", Verdicts(true=5, false=["it snowed"])),
    ]


def test_runs_are_saved_one_after_the_other_and_counted(tmp_path: Path) -> None:
    for run in runs():
        save(tmp_path / "new" / "runs.truth", run)
    assert saved([tmp_path / "new" / "runs.truth"]) == runs()
    assert count(runs()) == (
        "3 runs, 2 of them healthy (1 reported as incidents): "
        "17 claims true, 1 false; 1 sentences undecided"
    )


def test_the_section_stands_before_the_laboratory_and_is_replaced() -> None:
    page = "# Accuracy\n\n## Judging set\n\n1\n\n## Laboratory\n\n2\n"
    once = put(page, section(runs(), "2020-01-01"))
    assert once.index("## Judging set") < once.index("## Second witness")
    assert once.index("Measured on 2020-01-01: 3 runs") < once.index("## Laboratory")
    twice = put(once, section(runs()[:1], "2020-01-02"))
    assert "2020-01-01" not in twice and "2020-01-02: 1 runs" in twice
    assert twice.count("## Second witness") == 1 and twice.endswith("2\n")
    assert put(page, "") == page and kept(page) == "" and put(page, kept(twice)) == twice


def test_kinds_of_sentences_have_no_names_and_numbers() -> None:
    assert kind("python3 (12) waited 3.5 s for 127.0.0.1:80.") == "P waited N s for ENDPOINT."
    assert kind("bash (7) wrote 2 MiB to /tmp/x.") == kind("sh (8) wrote 9 MiB to /var/y.")
