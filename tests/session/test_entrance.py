"""The session is the only entrance to the core, and no order of a set is in what it gives."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.session.stories import ROOT

INPUTS = {
    "feed",
    "tick",
    "finish",
    "set_wall_offset",
    "watch",
    "note_losses",
    "resumed",
    "note_blind",
    "vanished",
    "alert",
    "alerted",
    "name_containers",
    "name_functions",
    "passed",
}


def inputs_of(tree: ast.AST) -> Iterator[str]:
    """Calls and assignments that change a core: `core.tick(…)`, `self.core.history = …`."""
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else []
        called = [node.func] if isinstance(node, ast.Call) else []
        for each in (*targets, *called):
            if isinstance(each, ast.Attribute):
                whose = ast.unparse(each.value)
                of_core = whose.split(".")[-1] in (
                    "core",
                    "_core",
                    "incidents",
                    "resources",
                    "missing",
                    "unended",
                )
                if of_core and (targets or each.attr in INPUTS):
                    yield ast.unparse(each)


def test_nothing_but_the_session_feeds_a_core() -> None:
    wrong = ast.parse("self.core.tick(1); observer.core.history = h; self.core.take()")
    assert set(inputs_of(wrong)) == {"self.core.tick", "observer.core.history"}
    found = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted((ROOT / "receiver").rglob("*.py"))
        if path.parent.name != "observe"
        for name in inputs_of(ast.parse(path.read_text()))
    }
    assert found == set()


CORE = ("facts", "work", "attribution", "detect", "observe", "investigate", "synthesis")


def is_set(node: ast.expr) -> bool:
    """A set, or what `|`, `&`, `-` and `^` make of sets and keys."""
    if isinstance(node, ast.BinOp):
        return (
            is_set(node.left) or is_set(node.right) or _is_keys(node.left) or _is_keys(node.right)
        )
    called = node.func if isinstance(node, ast.Call) else None
    made = isinstance(called, ast.Name) and called.id in ("set", "frozenset")
    return made or isinstance(node, ast.Set | ast.SetComp)


def _is_keys(node: ast.expr) -> bool:
    called = node.func if isinstance(node, ast.Call) else None
    return isinstance(called, ast.Attribute) and called.attr in ("keys", "items")


def walks_over_sets(tree: ast.AST) -> list[str]:
    loops = [n for n in ast.walk(tree) if isinstance(n, ast.For | ast.comprehension)]
    return [ast.unparse(n.iter) for n in loops if is_set(n.iter)]


def test_the_core_walks_over_no_set() -> None:
    """The order of a set of texts is another one in each process, so a replay would
    give other bytes."""
    assert walks_over_sets(ast.parse("for k in a.keys() | b.keys(): pass")) == [
        "a.keys() | b.keys()"
    ]
    found = {
        str(path.relative_to(ROOT)): walks
        for room in CORE
        for path in sorted((ROOT / "receiver" / room).rglob("*.py"))
        if (walks := walks_over_sets(ast.parse(path.read_text())))
    }
    assert found == {}
