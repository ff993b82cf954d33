"""Why a configuration is refused: the setting, its limit, and the remedy.

An error of msgspec is a sentence without fields. So a refused file is converted once more, setting
by setting, until the refused one is found: its path, its value and its bounds are then known, and
no sentence is taken apart.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

NO_BOUNDS = msgspec.Meta()
_WIDEST = 1 << 64


class RefusedSetting(NamedTuple):
    path: tuple[str, ...]
    sentence: str


def find_refusal(
    content: dict[str, Any],
    kind: type[msgspec.Struct],
    path: tuple[str, ...] = (),
    *,
    repeated: bool = False,
) -> RefusedSetting | None:
    """The first setting of a table that its type refuses. `repeated`: an entry of `[[table]]`."""
    hints = get_type_hints(kind, include_extras=True)
    name = ".".join(path)
    table = f"[[{name}]]" if repeated else f"[{name}]" if path else "the top level"
    for key, value in content.items():
        if key not in kind.__struct_fields__:
            known = ", ".join(kind.__struct_fields__)
            return RefusedSetting((*path, key), f"unknown key {key}; {table} knows {known}")
        if found := _refused(value, hints[key], (*path, key)):
            return found
    fields = msgspec.structs.fields(kind)
    missing = [f.name for f in fields if f.required and f.name not in content]
    if missing:
        return RefusedSetting(path, f"{table}: missing required field {', '.join(missing)}")
    return None


def _refused(value: Any, hint: Any, path: tuple[str, ...]) -> RefusedSetting | None:
    kind, meta = _unwrapped(hint)
    if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return find_refusal(value, kind, path)
    if isinstance(value, list) and get_origin(kind) is tuple and get_args(kind)[-1] is Ellipsis:
        if meta.max_length is not None and len(value) > meta.max_length:
            few = f"has {len(value)} entries, there is room for {meta.max_length}"
            return RefusedSetting(path, f"{'.'.join(path)} {few}")
        entry = get_args(kind)[0]
        return next((found for each in value if (found := _entry_refused(each, entry, path))), None)
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        return RefusedSetting(path, _sentence(value, kind, meta, ".".join(path), error))
    return None


def _entry_refused(value: Any, hint: Any, path: tuple[str, ...]) -> RefusedSetting | None:
    kind, _ = _unwrapped(hint)
    if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return find_refusal(value, kind, path, repeated=True)
    return _refused(value, hint, path)


def _sentence(value: Any, kind: Any, meta: msgspec.Meta, name: str, error: Exception) -> str:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return f"{name}: {error}"  # a value of another type
    if meta.pattern is not None:
        return f"{name}: {value!r} must be {meta.description}"
    wide = isinstance(value, int) and abs(value) >= _WIDEST
    return f"{name} = {'a number of more than 64 bits' if wide else value} must be {_range(meta)}"


def bounds_of(kind: type[msgspec.Struct], field: str) -> str:
    """The valid values of a number: `from 1 to 65536`."""
    return _range(_unwrapped(get_type_hints(kind, include_extras=True)[field])[1])


def _range(meta: msgspec.Meta) -> str:
    what = f"{meta.description} " if meta.description else ""
    return f"{what}from {meta.ge} to {meta.le}"


def _unwrapped(hint: Any) -> tuple[Any, msgspec.Meta]:
    """The type itself, and its bounds."""
    if get_origin(hint) is not Annotated:
        return hint, NO_BOUNDS
    kind, *more = get_args(hint)
    return kind, next((m for m in more if isinstance(m, msgspec.Meta)), NO_BOUNDS)


def line_of(path: tuple[str, ...], text: str) -> int:
    """The line of a setting, from 1; 0 where it is written in another form than `key = value` below
    its table.
    """
    if not path or not path[-1]:
        return 0
    lines = text.splitlines()
    table = re.compile(rf"\s*\[\[?\s*{re.escape('.'.join(path[:-1]))}\s*\]")
    own = re.compile(rf"\s*\[{{0,2}}{re.escape(path[-1])}\b")
    begin = next((i for i, line in enumerate(lines) if table.match(line)), 0)
    order = (*range(begin, len(lines)), *range(begin))
    return next((i + 1 for i in order if own.match(lines[i])), 0)
