"""What people see on a terminal."""

from __future__ import annotations

from receiver.show.live import live_tree, moment, named
from receiver.show.page import page
from receiver.show.report import details, screen
from receiver.show.timeline import Timeline
from receiver.show.tree import RunView, Views, as_json, summary
from receiver.words import event_line

__all__ = [
    "RunView",
    "Timeline",
    "Views",
    "as_json",
    "details",
    "event_line",
    "live_tree",
    "moment",
    "named",
    "page",
    "screen",
    "summary",
]
