"""The cards of the cause classes: rivals that exist, and one file for a name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from receiver.investigate.causes import CARDS
from receiver.investigate.classes import CLASSES

ROOT = Path(__file__).parent.parent.parent
CAUSES = ROOT / "receiver" / "investigate" / "causes"

# not told apart from fs.slow_io (docs/accuracy.md): no rule concludes it
ONLY_RIVALS = {"fs.netfs"}


def test_every_class_is_told_apart_from_rivals_that_exist() -> None:
    assert len(CARDS) == len(CLASSES), "one name twice"
    for card in CARDS:
        assert card.rivals, card.name
        assert all(r in CLASSES for r in card.rivals), card.name
        assert card.fix.text.endswith(".") and card.predicts


def test_a_card_is_in_the_file_of_its_name_and_names_classes_that_exist() -> None:
    """One with a typing error would end in a KeyError on the day it is needed, or never match."""
    families = {card.family for card in CARDS}
    for card in CARDS:
        path = CAUSES / f"{card.name.replace('.', '/')}.py"
        assert "CARD = cause_class(" in path.read_text()
        assert bool(card.find) is (card.name not in ONLY_RIVALS), card.name
        for relation in (*card.brings, *card.begins_with):
            for name in relation.names:
                known = (
                    name.removesuffix(".") in families if name.endswith(".") else name in CLASSES
                )
                assert known, (card.name, name)
    written = {name for path in CAUSES.rglob("*.py") for name in _named_classes(path)}
    assert written == set(CLASSES)
    (stated,) = re.findall(r"(\d+) cause classes", (ROOT / "docs/usage.md").read_text())
    assert int(stated) == len(CLASSES)


def test_no_other_module_names_a_class() -> None:
    """What holds of a class stands on its card: no rule elsewhere may ask for one by name.

    The table of weights is no rule: it has the counts of each class and clue.
    """
    for folder in ("receiver", "tools"):
        for path in (ROOT / folder).rglob("*.py"):
            if not path.is_relative_to(CAUSES) and path != CAUSES.parent / "weights.py":
                assert not set(_named_classes(path)) & set(CLASSES), path


def _named_classes(path: Path) -> Iterator[str]:
    families = "|".join(sorted({card.family for card in CARDS}))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for word in node.value.split():
                if re.fullmatch(rf"({families})\.[a-z_]+", word):
                    yield word
