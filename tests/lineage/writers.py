"""Writers that are killed, and what readers of their files are told."""

from __future__ import annotations

import os

from receiver import semconv as sc
from receiver.facts.versions import VersionState
from tests.builders import Story, attributes

OUT = os.O_WRONLY | os.O_CREAT


def taints(story: Story) -> list[tuple[object, object]]:
    return [
        (attributes(r)[sc.FILE_TAINT_KIND], attributes(r)[sc.FILE_PATH])
        for r in story.events(sc.EVENT_FILE_TAINTED_READ)
    ]


def state(story: Story, inode: int = 7) -> VersionState:
    version = story.core.facts.versions.get((1, inode))
    assert version is not None
    return version.state
