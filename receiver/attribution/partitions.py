"""The data partition that a path names in Hive's form.

For example `…/partition_date=2024-01-15/part-0.parquet`.
"""

from __future__ import annotations

import re

from receiver.attribution.declared import DECLARED

_NOT_DATA = tuple(f"{key}=" for key in DECLARED.path_keys)
_PART = re.compile(r"/([A-Za-z_][\w.]{0,63}=[^/]{1,128})(?=/)")


def partition_in_path(path: str) -> str:
    """`key=value` of all its levels, joined by `/`; empty when there is none."""
    found = _PART.findall(path)
    if not found or found[0].startswith(_NOT_DATA):
        return ""
    return "/".join(found)
