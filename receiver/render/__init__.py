"""Output for people on a terminal."""

from __future__ import annotations

from receiver.render.live import live_tree, moment, named
from receiver.render.page import page
from receiver.render.process_tree import RunView, Views, as_json, summary
from receiver.render.terminal import details, screen
from receiver.render.timeline import Timeline

__all__ = [
    "RunView",
    "Timeline",
    "Views",
    "as_json",
    "details",
    "live_tree",
    "moment",
    "named",
    "page",
    "screen",
    "summary",
]
