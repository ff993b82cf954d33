"""What people see on a terminal."""

from __future__ import annotations

from receiver.show.events import event_line
from receiver.show.live import live_tree, moment, named
from receiver.show.timeline import Timeline
from receiver.show.tree import RunView, Views, as_json, summary

__all__ = ["RunView", "Timeline", "Views", "as_json", "event_line", "live_tree", "moment", "named", "summary"]
