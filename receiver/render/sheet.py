"""Lines of text for a terminal of a known width, made with rich.

No line is wider than the terminal, also when names contain wide or combining characters. Importing
rich takes 80 ms, so commands import this module and its users when they print, not when they start.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable

from rich.cells import cell_len, chop_cells, set_cell_size, split_graphemes
from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from receiver.render import PLAIN_WIDTH
from receiver.text.printable import printable

NARROWEST = 40  # a narrower terminal gets lines of this width
RED, YELLOW, GREEN, DIM, BOLD = "red", "yellow", "green", "dim", "bold"
INDENT = 2
LABEL_WIDTH = 9
_TALLEST = 100_000
# Emoji variants, flags, skin tones, soft hyphens and tags: terminals disagree about their width.
_PRESENTATION = re.compile("[\ufe00-\ufe0f]")
_UNSTEADY = re.compile(
    "[\u00ad\u061c\u180b-\u180f\u20e3\U0001f1e6-\U0001f1ff\U0001f3fb-\U0001f3ff\U000e0000-"
    "\U000e0fff]"
)


class Sheet:
    """Collects renderables and turns them into lines."""

    def __init__(self, width: int = PLAIN_WIDTH, *, colour: bool = False) -> None:
        self.width = max(NARROWEST, width)
        self._file = io.StringIO()
        # nothing of the environment decides here: the caller knows the terminal
        self._console = Console(
            file=self._file,
            width=self.width,
            height=_TALLEST,
            force_terminal=colour,
            color_system="standard" if colour else None,
            no_color=not colour,
            markup=False,
            emoji=False,
            highlight=False,
            legacy_windows=False,
            _environ={},
        )

    def add(self, *parts: RenderableType) -> None:
        for part in parts:
            self._console.print(part, overflow="fold")

    def blank(self) -> None:
        self._console.print()

    def heading(self, text: str) -> None:
        self.add(indented(Text(text, BOLD)))

    def labelled(self, label: str, text: str) -> None:
        """A label and its text, which continues in the column beside the label.

        A label that does not fit into its column has a line of its own.
        """
        if len(label) > LABEL_WIDTH:
            self.add(indented(Text(label, DIM)))
            label = ""
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(width=LABEL_WIDTH, no_wrap=True)
        grid.add_column(overflow="fold")
        grid.add_row(Text(label, DIM), plain(text))
        self.add(indented(grid))

    def text(self) -> str:
        """All lines, without spaces at their ends."""
        return "\n".join(line.rstrip(" ") for line in self._file.getvalue().splitlines())


def steady(text: str) -> str:
    """Text of others, in which nothing moves the cursor, and whose width every terminal agrees
    on."""
    known = _PRESENTATION.sub("", printable(text))
    return known if known.isascii() else _UNSTEADY.sub(lambda m: f"\\u{{{ord(m[0]):x}}}", known)


def plain(text: str, style: str = "") -> Text:
    return Text(steady(text), style)


def indented(part: RenderableType, by: int = INDENT) -> Padding:
    return Padding(part, (0, 0, 0, by), expand=False)


def evidence(text: str, ids: Iterable[str]) -> Text:
    """A sentence, and the ids of its events."""
    known = " ".join(ids)
    return plain(text).append(f" [{known}]" if known else "", DIM)


def cut(text: str, width: int) -> str:
    """At most `width` cells: the end is cut off."""
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)) + "…"


def shortened(text: str, width: int) -> str:
    """At most `width` cells: the middle is left out, because a path's end tells most."""
    if cell_len(text) <= width:
        return text
    head = max(0, (width - 1) // 3)
    room = width - 1 - head
    spans, _ = split_graphemes(text)
    tail, used = len(text), 0
    for start, _, cells in reversed(spans):
        if used + cells > room:
            break
        tail, used = start, used + cells
    return set_cell_size(text, head).rstrip() + "…" + text[tail:]


def folded(text: str, width: int) -> str:
    """One line of text as lines of at most `width` cells, at spaces where possible.

    The lines that continue it are indented deeper than its beginning.
    """
    width = max(NARROWEST, width)
    rest = steady(text)
    margin = " " * min(len(rest) - len(rest.lstrip(" ")) + 2 * INDENT, width // 2)
    lines: list[str] = []
    part = 4 * width  # is enough to look at: a text may have 128 KiB
    while len(rest) > part or cell_len(rest) > width:
        head = chop_cells(rest[:part], width)[0]
        space = head.rfind(" ", width // 2)
        if space > 0 and not rest[len(head) :].startswith(" "):
            head = head[:space]
        lines.append(head.rstrip(" "))
        rest = margin + rest[len(head) :].lstrip(" ")
    return "\n".join((*lines, rest)) if rest.strip(" ") or not lines else "\n".join(lines)


def padded(text: str, width: int) -> str:
    """Exactly `width` cells."""
    return set_cell_size(cut(text, width), width)
