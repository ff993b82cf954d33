"""Collects what the recognisers declare about their frameworks, for the rooms that need it.

| what | who uses it |
|---|---|
| `capture` | the source: which variables and packages it reports, and which files it only counts |
| `helpers` | detect.deaths: whether a framework ended its own helper as planned |
| `committer` | the file table: how a rename put a file in place |
| `is_metadata` | observe.files: which written files are no outputs of a step |
| `path_keys` | attribution.partitions |
| `attributes` | synthesis.spans: notes that are exported |
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

import msgspec

from receiver.attribution import containers, context
from receiver.attribution.frameworks import RECOGNISERS
from receiver.attribution.frameworks.base import HelperRole, Recogniser
from receiver.kernel.capture import Capture

# Identifiers of runs that no recogniser reads yet. A recording has them, so that one can.
_ENVIRONMENT = (
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OPENLINEAGE_NAMESPACE",
    "OPENLINEAGE_PARENT_ID",
    "OPENLINEAGE_ROOT_PARENT_ID",
    "SLURM_JOB_ID",
    "SLURM_JOBID",
    "SLURM_JOB_NAME",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_STEP_ID",
    "SLURM_PROCID",
    "SLURM_CLUSTER_NAME",
    "ARGO_WORKFLOW_NAME",
    "ARGO_NODE_ID",
    "AWS_BATCH_JOB_ID",
    "AWS_BATCH_JOB_ATTEMPT",
)


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """See the module's docstring, and `Recogniser` for the meaning of each declaration."""

    capture: Capture
    helpers: Mapping[str, HelperRole]  # by role
    temporary_paths: tuple[tuple[str, re.Pattern[str]], ...]
    metadata_paths: Mapping[str, tuple[str, ...]]
    path_keys: tuple[str, ...]
    attributes: tuple[str, ...]

    def committer(self, old: str, new: str) -> str:
        """The system that puts a file in place by this rename; "duckdb" for that library's way, and
        "rename" for a plain one.
        """
        for system, pattern in self.temporary_paths:
            if pattern.search(old):
                return system
        name = PurePosixPath(old).name
        if name.startswith("tmp_") and name[4:] == PurePosixPath(new).name:
            return "duckdb"
        return "rename"

    def is_metadata(self, system: str, path: str) -> bool:
        """Whether the file is the framework's own, and no data."""
        return any(part in path for part in self.metadata_paths.get(system, ()))


def declared(recognisers: Iterable[Recogniser]) -> Declared:
    """All declarations of the given recognisers, in their order."""
    every = tuple(recognisers)
    return Declared(
        capture=Capture(
            environment=(
                *(name for each in every for name in each.environment),
                *context.ENVIRONMENT,
                *containers.ENVIRONMENT,
                *_ENVIRONMENT,
            ),
            binding=tuple(name for each in every for name in each.binding),
            packages=tuple(name for each in every for name in each.packages),
            ignored_paths=tuple(path for each in every for path in each.ignored_paths),
        ),
        helpers={helper.role: helper for each in every for helper in each.helpers},
        temporary_paths=tuple(
            (each.name, each.temporary_path) for each in every if each.temporary_path is not None
        ),
        metadata_paths={each.name: each.metadata_paths for each in every if each.metadata_paths},
        path_keys=tuple(key for each in every for key in each.path_keys),
        attributes=tuple(name for each in every for name in each.attributes),
    )


DECLARED = declared(RECOGNISERS)
