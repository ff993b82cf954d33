"""The section of docs/accuracy.md about the judging set, which stands before the laboratory."""

from __future__ import annotations

from collections.abc import Sequence

from tests.incidents.generated.judge import Line, summary

_BEGIN, _END = "<!-- judging set: begin -->", "<!-- judging set: end -->"
_ABOUT = """## Judging set

Written by `make bench-judging`. `tests/incidents/generate.py` composes incidents from a seed: a
workload (13 ways to run steps in 7 languages), a fault at a drawn moment, a context (wrappers,
namespaces, cgroups, standard output), noise, and a length. One of eight is a story of a minute to a
day on constructed events. Each composition has a *healthy twin*: the same without the fault. Nobody
looks into this set case by case, and no rule is written for it. The whole set has 400 compositions.
Shares have Wilson's 95% interval."""


def section(lines: Sequence[Line]) -> str:
    return "\n".join([_BEGIN, _ABOUT, "", *summary(lines), _END])


def kept(page: str) -> str:
    """The section of a page; nothing if it has none."""
    begin, end = page.find(_BEGIN), page.find(_END)
    return page[begin : end + len(_END)] if 0 <= begin < end else ""


def put(page: str, text: str) -> str:
    """The page with this section behind its title, instead of the one that it has."""
    old = kept(page)
    if old:
        return page.replace(old, text)
    title, _, rest = page.partition("\n")
    return f"{title}\n\n{text}\n\n## Laboratory\n{rest}" if text else page
