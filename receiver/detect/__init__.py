"""Findings. Small detectors turn kernel facts about one process into statements that cite event
ids.

One death gives one finding: an OOM kill is not also reported as "killed by".
"""

from __future__ import annotations

from receiver.detect.deaths import killed, oom_killed
from receiver.detect.masked import masked_failures
from receiver.detect.writes import partial_writes

__all__ = ["killed", "masked_failures", "oom_killed", "partial_writes"]
