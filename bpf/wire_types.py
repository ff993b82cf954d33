"""The types of the wire structs, read from BTF as `bpftool -j btf dump file` prints it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

Type = dict[str, Any]

INTS = {
    (1, False): "B",
    (2, False): "H",
    (4, False): "I",
    (8, False): "Q",
    (4, True): "i",
    (8, True): "q",
}
TEXTS = {
    "text_len": ("str", "redactor.path({})"),
    "line_len": ("str", "redactor.line({})"),
    "labels_len": ("str", "redactor.labels({})"),
    "texts_len": ("tuple[str, ...]", "redactor.entries({})"),
    "frames_len": ("tuple[str, ...]", "redactor.frames({})"),
    "argv_len": ("tuple[str, ...]", "redactor.argv({})"),
}


@dataclass(frozen=True)
class Field:
    """One leaf of a wire struct. `texts` says how the bytes behind the struct become text."""

    name: str
    code: str
    kind: str
    texts: str = ""
    enum: str = ""  # whose values it may hold


class Btf:
    def __init__(self, types: list[Type]) -> None:
        self.by_id = {t["id"]: t for t in types}
        self.structs = {t["name"]: t for t in types if t["kind"] == "STRUCT"}
        self.enums = {
            t["name"]: t for t in types if t["kind"].startswith("ENUM") and t["name"] != "(anon)"
        }

    def resolve(self, type_id: int) -> tuple[Type, str]:
        """The type behind typedefs, and the name of the outermost typedef."""
        found, alias = self.by_id[type_id], ""
        while found["kind"] in ("TYPEDEF", "CONST", "VOLATILE"):
            alias = alias or found["name"]
            found = self.by_id[found["type_id"]]
        return found, alias

    def fields(self, struct: Type) -> list[Field]:
        """Flattened members in wire order; pads come out as `x` codes without a name."""
        out: list[Field] = []
        at = 0
        for member in struct["members"]:
            if member["bits_offset"] != at * 8:
                sys.exit(
                    f"{struct['name']}.{member['name']}: unnamed padding before it; add an "
                    "explicit pad"
                )
            found, alias = self.resolve(member["type_id"])
            size = self.size(found)
            at += size
            out.extend(self.leaf(struct["name"], member["name"], found, alias, size))
        if at != struct["size"]:
            sys.exit(f"{struct['name']}: {struct['size'] - at} bytes of unnamed padding at its end")
        return out

    def leaf(self, owner: str, name: str, found: Type, alias: str, size: int) -> list[Field]:
        if name.startswith("_pad"):
            return [Field("", f"{size}x", "")]
        if found["kind"] == "STRUCT" and found["name"] == "event_header":
            return self.fields(found)
        if found["kind"] == "STRUCT" and found["name"] == "process_key":
            return [Field(name, "QI4x", "ProcessKey")]
        if found["kind"] == "ARRAY" and self.resolve(found["type_id"])[0]["name"] == "char":
            return [Field(name, f"{size}s", "str")]
        code = (
            INTS.get((size, found.get("encoding") == "SIGNED")) if found["kind"] == "INT" else None
        )
        if code and alias in TEXTS:
            return [Field(name, code, TEXTS[alias][0], alias)]
        if code:
            enum = alias.removesuffix("_value") if alias.endswith("_value") else ""
            if enum and enum not in self.enums:
                sys.exit(f"{owner}.{name}: there is no enum {enum}")
            return [Field(name, code, "int", enum=enum)]
        sys.exit(f"{owner}.{name}: {found['kind']} is not allowed on the wire")

    def size(self, found: Type) -> int:
        if found["kind"] == "ARRAY":
            return int(found["nr_elems"]) * self.size(self.resolve(found["type_id"])[0])
        return int(found["size"])
