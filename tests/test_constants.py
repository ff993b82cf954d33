"""What both halves need exists once: in bpf/events.h, and generated from it in
receiver/constants.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from receiver import constants

ROOT = Path(__file__).parents[1]
NAMES = [name for name in vars(constants) if name.isupper()]
PYTHON = {
    path.relative_to(ROOT): path.read_text()
    for path in (ROOT / "receiver").rglob("*.py")
    if path.name != "constants.py"
}
HEADERS = {
    path.relative_to(ROOT): path.read_text()
    for path in (ROOT / "bpf").glob("*.[ch]")
    if path.name != "events.h"
}


def test_the_constants_are_those_of_the_kernel_half() -> None:
    source = (ROOT / "bpf" / "events.h").read_text()
    numbers = dict(re.findall(r"^\t([A-Z_]+) = (\d+),", source.partition("};")[0], re.MULTILINE))
    assert {name: getattr(constants, name) for name in numbers} == {
        name: int(value) for name, value in numbers.items()
    }
    assert tuple(re.findall(r"\bword\(([A-Z]+)\)", source)) == constants.SECRET_WORDS


@pytest.mark.parametrize("name", NAMES)
def test_no_constant_is_defined_again(name: str) -> None:
    again = re.compile(rf"^_?{name}(?:: \w+)? = ", re.MULTILINE)
    assert [path for path, text in PYTHON.items() if again.search(text)] == []
    again = re.compile(rf"^#define {name}\b|^\t{name} = ", re.MULTILINE)
    assert [path for path, text in HEADERS.items() if again.search(text)] == []


def test_a_second_has_one_name() -> None:
    number = re.compile(r"(?<![\d_])1_?000_?000_?000(?![\d_])")
    assert [path for path, text in (PYTHON | HEADERS).items() if number.search(text)] == []
