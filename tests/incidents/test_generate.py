"""The generator: seeds, twins, and what it counts. Live runs of it are in
tests/live/test_generated.py."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.incidents import generate
from tests.incidents.generated import programs
from tests.incidents.generated.bench import Bench
from tests.incidents.generated.compose import SETS, compose, is_story, twin
from tests.incidents.generated.faults import FAULTS
from tests.incidents.generated.judge import Line, calibration_error, reliability, summary
from tests.incidents.generated.model import LANGUAGES, Composition
from tests.incidents.generated.page import kept, put, section
from tests.incidents.generated.play import play
from tests.incidents.generated.stories import STORIES
from tests.incidents.generated.workloads import STRUCTURES, workload
from tests.incidents.lab import Lab
from tests.incidents.machine import UnavailableError

PLAIN = ("own_decision", "wrong_data", "input_was_removed", "masked", "abort")


@pytest.fixture
def lab() -> Iterator[Lab]:
    found = Lab(0)
    yield found
    found.close()


def composition(
    fault: str, *, structure: str = "bash", language: str = "perl", number: int = 7
) -> Composition:
    return Composition(
        number=number,
        seed=f"test:{number}",
        fault=fault,
        language=language,
        structure=structure,
        wrappers=(),
        output="pipe",
        noise="quiet",
        milliseconds=300,
        moment=0.5,
    )


def files(lab: Lab, chosen: Composition) -> dict[str, str]:
    """What the composition puts into its folder, without the folder's name."""
    bench = Bench(chosen, lab)
    plan = FAULTS[chosen.fault].make(bench)
    try:
        command = workload(lab.folder, bench.names.program(), chosen.structure, plan.stages)
    except UnavailableError as why:
        pytest.skip(str(why))
    found = {
        str(p.relative_to(lab.folder)): p.read_text(errors="replace").replace(str(lab.folder), "")
        for p in sorted(lab.folder.rglob("*"))
        if p.is_file()
    }
    return found | {"command": " ".join(command).replace(str(lab.folder), "")}


def test_a_seed_gives_the_same_composition() -> None:
    for name in SETS:
        assert [compose(name, n) for n in range(60)] == [compose(name, n) for n in range(60)]
    assert compose("development", 3) != compose("judging", 3)


@pytest.mark.parametrize("fault", PLAIN)
def test_a_seed_gives_the_same_files(fault: str) -> None:
    found = []
    for _ in range(2):
        lab = Lab(0)
        try:
            found.append(files(lab, composition(fault)))
        finally:
            lab.close()
    assert found[0] == found[1]


@pytest.mark.parametrize("fault", PLAIN)
def test_a_twin_differs_by_the_fault_alone(fault: str) -> None:
    found = []
    for chosen in (composition(fault), twin(composition(fault))):
        lab = Lab(0)
        try:
            found.append(files(lab, chosen))
        finally:
            lab.close()
    sick, healthy = found
    assert sick.keys() == healthy.keys()
    assert sum(sick[name] != healthy[name] for name in sick) == 1


def test_each_part_of_a_set_has_all_faults() -> None:
    weights = sum(f.weight for f in FAULTS.values())
    for name in SETS:
        live = [compose(name, n).fault for n in range(400) if not is_story(n)]
        for start in (0, weights, 2 * weights):
            assert set(live[start : start + weights]) == FAULTS.keys()


def test_a_set_has_all_dimensions() -> None:
    drawn = [compose("judging", n) for n in range(400)]
    assert {c.structure for c in drawn} == {*STRUCTURES, "story"}
    assert {c.language for c in drawn} == set(LANGUAGES)
    assert {c.output for c in drawn} == {"file", "pipe", "null", "terminal"}
    assert {c.fault for c in drawn if c.structure == "story"} == STORIES.keys()
    lengths = sorted(c.milliseconds for c in drawn if c.structure != "story")
    assert lengths[0] >= 200 and 20_000 <= lengths[-1] <= 90_000
    assert {FAULTS[c.fault].visible for c in drawn if c.structure != "story"} == {"K", "P", "N"}


@pytest.mark.parametrize("structure", STRUCTURES.keys() - {"go", "java"})  # as the others
def test_a_name_gives_nothing_away(lab: Lab, structure: str) -> None:
    found = files(lab, composition("own_decision", structure=structure, language="bash"))
    words = {w for f in FAULTS for w in f.split("_") if len(w) > 4} - {"process"}
    words |= {"victim", "stranger", "sender", "fault", "twin"}
    names = " ".join([*found, found["command"]])
    assert {w for w in words if w in names} == set()


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("number", range(3))
def test_the_twin_of_a_story_is_healthy(name: str, number: int) -> None:
    chosen = msgspec.structs.replace(
        composition(name, structure="story", number=number),
        milliseconds=random.Random(number).randrange(60_000, 86_400_000),
    )
    assert play(twin(chosen)).report["verdict"] == "healthy"
    played = play(chosen)
    masked = name == "masked_at_an_hour"
    assert played.truth.verdict != "healthy"
    assert (played.report["execution"]["outcome"] == "success") == masked


# ── counting ──────────────────────────────────────────────────────────────────────────────────────


def line(number: int, **other: object) -> Line:
    values = {"number": number, "sick": True, "state": "played", "visible": "K"} | other
    return msgspec.convert(values, Line)


def test_shares_are_counted_by_visibility() -> None:
    lines = [line(n, joint=n < 3, class_at_1=True, incident=True, confidence=0.9) for n in range(4)]
    lines += [
        line(9, visible="N", right=True),
        line(10, state="void"),
        line(11, state="unavailable"),
    ]
    lines += [
        line(n, sick=False, right=n != 0, alarm=n == 0, incident=n == 0, confidence=0.6 * (n == 0))
        for n in range(5)
    ]
    text = "\n".join(summary(lines))
    assert "| class and culprit at 1 (joint@1) | 3 of 4 (0.75;" in text
    assert "not visible: 1 of 1" in text and "False alarms: 1 of 5" in text
    assert "1 runs were void" in text and "1 not possible here" in text


def test_calibration_is_the_distance_between_confidence_and_being_right() -> None:
    right = [line(n, joint=True, incident=True, confidence=0.92) for n in range(8)]
    wrong = [line(n, incident=True, confidence=0.92) for n in range(2)]
    alarm = [line(0, sick=False, incident=True, confidence=0.75)]
    ((name, count, mean, good),) = reliability([*right, *wrong])
    assert (name, count, round(mean, 6), good) == ("0.90 to 0.95", 10, 0.92, 0.8)
    assert calibration_error([*right, *wrong]) == pytest.approx(0.12)
    assert calibration_error([*right, *wrong, *alarm]) == pytest.approx((10 * 0.12 + 0.75) / 11)
    assert calibration_error([]) == 0


def test_the_section_of_a_page_is_put_first_and_replaced() -> None:
    page = "# Accuracy\n\nAbout the laboratory.\n"
    once = put(page, section([line(1, joint=True)]))
    assert once.index("## Judging set") < once.index("About the laboratory.")
    again = put(once, section([line(1), line(2)]))
    assert again.count("## Judging set") == 1 and "0 of 2" in again and "1 of 1" not in again
    assert put(page, "") == page and kept(page) == ""


def test_a_run_that_is_saved_is_not_played_again_and_judging_prints_no_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "judging.jsonl"
    stories = [n for n in range(40) if is_story(n)][:2]
    for number in stories:
        arguments = [
            "x",
            "--set",
            "judging",
            "--from",
            str(number),
            "--count",
            "1",
            "--save",
            str(store),
        ]
        monkeypatch.setattr("sys.argv", arguments)
        assert generate.main() == 0
        assert generate.main() == 0  # nothing is left to do
    saved = [json.loads(text) for text in store.read_text().splitlines()]
    assert [(e["number"], e["sick"]) for e in saved] == [
        (n, s) for n in stories for s in (True, False)
    ]
    text = capsys.readouterr().out + store.read_text()
    assert not [name for name in (*STORIES, *FAULTS) if name in text]
    assert list(tmp_path.iterdir()) == [store]


def test_a_language_that_is_not_installed_is_skipped_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "development.jsonl"
    number = next(
        n
        for n in range(400)
        if (c := compose("development", n)).language == "go" and c.fault in PLAIN
    )
    arguments = ["x", "--from", str(number), "--count", "1", "--no-twins", "--save", str(store)]
    monkeypatch.setattr("sys.argv", arguments)
    which = shutil.which
    monkeypatch.setattr("shutil.which", lambda name: None if name == "go" else which(name))
    programs._built.cache_clear()
    assert generate.main() == 0
    assert json.loads(store.read_text())["state"] == "unavailable"
    text = capsys.readouterr().out
    assert "go is not installed" in text and "1 not possible here" in text
