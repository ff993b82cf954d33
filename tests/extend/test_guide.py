"""The table "Where do I add …?" of CONTRIBUTING.md names files and tables that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from receiver.attribution.frameworks import RECOGNISERS
from receiver.attribution.frameworks.base import Recogniser

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
ROWS = [line for line in GUIDE.split("## Tests")[0].splitlines() if line.startswith("| ")][1:]
FRAMEWORKS = ROOT / "receiver" / "attribution" / "frameworks"


def test_the_table_has_a_row_for_each_kind_of_extension() -> None:
    named = {row.split("|")[1].strip() for row in ROWS}
    assert {"a kernel event", "a framework", "a detector", "an exporter"} <= named


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_each_path_exists(row: str) -> None:
    paths = re.findall(r"`((?:receiver|tests|tools|semconv|bpf|deploy)/[\w/.*-]+)`", row)
    missing = [path for path in paths if not list(ROOT.glob(path))]
    assert not missing


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_each_table_is_in_the_file_that_is_named(row: str) -> None:
    for name, path in re.findall(r"`(_?[A-Z][A-Z_]+)` \(`(receiver/[\w/.]+\.py)`\)", row):
        assert re.search(rf"^{name}(:[^=]*)? = ", (ROOT / path).read_text(), re.M), (name, path)


@pytest.mark.parametrize("recogniser", RECOGNISERS, ids=lambda r: r.name)
def test_no_other_file_names_what_a_recogniser_declares(recogniser: Recogniser) -> None:
    names = {*recogniser.environment, *(helper.role for helper in recogniser.helpers)}
    assert not {name: names & texts for name, texts in strings().items() if names & texts}


@cache
def strings() -> dict[str, set[str]]:
    """The string constants of each file outside of the folder of the frameworks."""
    files = [p for p in (ROOT / "receiver").rglob("*.py") if p.parent != FRAMEWORKS]
    return {
        file.name: {
            node.value
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        for file in files
    }
