"""Cuts a recording down to the watched command's own processes, for keeping:
`python -m tests.scenarios.trim IN OUT`.

What is left is real; the host's name and all that strangers did is gone.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.scenarios.cut import rewrite

rewrite(Path(sys.argv[1]), Path(sys.argv[2]), lambda event, _: event)
