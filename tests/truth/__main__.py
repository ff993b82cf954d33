"""Runs commands under the witnesses, and prints each sentence that is false."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

from tests.incidents.lab import Scene, UnavailableError, every, witnessed
from tests.truth.check import Verdicts
from tests.truth.play import play

Outcome: TypeAlias = "tuple[str, Verdicts]"


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.truth", description=__doc__)
    parser.add_argument("--folder", type=Path, help="run each run.sh and twin.sh below it")
    parser.add_argument("--lab", nargs="*", metavar="SCENE", help="run these scenes; none: all")
    parser.add_argument("--variants", type=int, default=99, help="at most so many of each scene")
    parser.add_argument("--undecided", action="store_true", help="print what was not decided, too")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    total, runs = Verdicts(), 0
    for name, play_one in _chosen(args):
        try:
            verdict, found = play_one()
        except (UnavailableError, RuntimeError, OSError) as error:
            print(f"---- {name}: {str(error)[:300]}", flush=True)
            continue
        runs += 1
        total.add(found)
        print(
            f"{name}: {verdict}, {found.true} true, {len(found.false)} false, "
            f"{len(found.undecided)} undecided",
            flush=True,
        )
        for each in found.false:
            print(f"  FALSE {each}", flush=True)
        for each in found.undecided if args.undecided else ():
            print(f"  undecided {each}", flush=True)
    print(
        f"{runs} runs: {total.true} claims true, {len(total.false)} false; "
        f"{len(total.undecided)} sentences undecided, {len(total.negative)} of them negative"
    )
    return 1 if total.false else 0


def _chosen(args: argparse.Namespace) -> Iterator[tuple[str, Callable[[], Outcome]]]:
    if args.command:
        yield " ".join(args.command), partial(_command, args.command)
    for path in sorted(args.folder.rglob("*.sh")) if args.folder else ():
        if path.name in ("run.sh", "twin.sh"):
            yield str(path), partial(_command, ["bash", str(path.resolve())])
    for scene, variant in every(args.lab) if args.lab is not None else ():
        if variant < args.variants:
            yield f"{scene.name}-{variant}", partial(_scene, scene, variant)


def _command(command: list[str]) -> Outcome:
    played = play(command)
    return str(played.report["verdict"]), played.verdicts


def _scene(scene: Scene, variant: int) -> Outcome:
    return witnessed(scene, variant)


if __name__ == "__main__":
    sys.exit(main())
