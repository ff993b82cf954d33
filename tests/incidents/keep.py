"""Cuts recordings of the laboratory down to what may be kept as golden scenarios:
`python -m tests.incidents.keep FOLDER OUT [BYTES]`.

Only the watched command's own processes stay, and of strangers the looks at those that the truth
names. Beginnings of paths of the machine go. Beside each recording stands what is expected of it:
verdict, class and culprit, not the wording.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec

from receiver.events import Event, Neighbour
from tests.incidents.results import Result
from tests.incidents.score import score
from tests.scenarios.cut import renamed, rewrite

LARGEST = 40_000  # bytes


def keep(source: Path, target: Path, largest: int) -> bool:
    """False for a run that did not come out right, or is too large."""
    result = msgspec.json.decode(source.read_bytes(), type=Result)
    recording = source.with_suffix(".kw")
    if not score(result).right or not recording.exists():
        return False
    culprit = result.truth.culprit
    named = {culprit.get("pid"), *culprit.get("pids", ())} - {None}
    names = [
        (str(Path(sys.executable).resolve().parent), "/usr/bin"),
        (str(Path(sys.executable).parent), "/usr/bin"),
        (sys.prefix, "/usr"),
        ("/root/", "/home/job/"),
    ]

    def wanted(event: Event, _: set[int]) -> Event:
        return renamed(event, names)

    def also(event: Event) -> bool:
        return isinstance(event, Neighbour) and event.process.tgid in named

    out = target / f"{source.stem}.kw"
    rewrite(recording, out, wanted, also)
    if out.stat().st_size > largest:
        out.unlink()
        return False
    expected = {
        "verdict": result.truth.verdict,
        "cause": result.truth.cause,
        "also_right": list(result.truth.also_right),
        "culprit": culprit,
    }
    out.with_suffix(".json").write_text(json.dumps(expected) + "\n")
    return True


def main(folder: Path, target: Path, largest: int = LARGEST) -> None:
    target.mkdir(parents=True, exist_ok=True)
    kept = [p.stem for p in sorted(folder.glob("*.json")) if keep(p, target, largest)]
    print(f"{len(kept)} kept")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:4]))
