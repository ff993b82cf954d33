"""The first process of the host on which the stories happen."""

from __future__ import annotations

from receiver.events import ProcessKey

INIT = ProcessKey(1, 1)
