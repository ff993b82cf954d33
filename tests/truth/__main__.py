"""Runs commands under the witnesses, and prints each sentence that is false."""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeAlias

from tests.incidents.machine import UnavailableError
from tests.incidents.scene import Scene, every, witnessed
from tests.truth.play import play
from tests.truth.told import Told, count, kind, put, save, saved, section, told

Outcome: TypeAlias = "Callable[[], Told]"


def main() -> int:
    args = _parser().parse_args()
    runs: list[Told] = []
    for name, play_one in _chosen(args):
        try:
            run = play_one()
        except (UnavailableError, RuntimeError, OSError) as error:
            print(f"---- {name}: {str(error)[:300]}", flush=True)
            continue
        runs.append(run)
        if args.save is not None:
            save(args.save, run)
        _show(run, args.undecided)
    runs += saved(args.saved)
    if args.forms:
        _forms(runs)
    print(count(runs))
    if args.page is not None:
        day = time.strftime("%Y-%m-%d")
        args.page.write_text(put(args.page.read_text(), section(runs, day)))
    return 1 if any(run.false for run in runs) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests.truth", description=__doc__)
    parser.add_argument("--folder", type=Path, help="run each run.sh and twin.sh below it")
    parser.add_argument("--lab", nargs="*", metavar="SCENE", help="run these scenes; none: all")
    parser.add_argument("--variants", type=int, default=99, help="at most so many of each scene")
    parser.add_argument(
        "--lines", type=Path, metavar="FILE", help="run each line of the file as a shell does"
    )
    parser.add_argument(
        "--healthy", action="store_true", help="the commands and lines have no fault: count them so"
    )
    parser.add_argument("--undecided", action="store_true", help="print what was not decided, too")
    parser.add_argument("--save", type=Path, metavar="FILE", help="append a line for each run")
    parser.add_argument(
        "--saved", type=Path, nargs="*", default=[], metavar="FILE", help="count these runs, too"
    )
    parser.add_argument(
        "--forms", action="store_true", help="print how often each kind of sentence was undecided"
    )
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the count into this page")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser


def _show(run: Told, undecided: bool) -> None:
    print(
        f"{run.name}: {run.verdict}, {run.true} true, {len(run.false)} false, "
        f"{len(run.undecided)} undecided",
        flush=True,
    )
    for each in run.false:
        print(f"  FALSE {each}", flush=True)
    for each in run.undecided if undecided else ():
        print(f"  undecided {each}", flush=True)


def _forms(runs: list[Told]) -> None:
    kinds = Counter(kind(sentence) for run in runs for sentence in run.undecided)
    for text, number in kinds.most_common():
        print(f"{number:5} {text}")


def _chosen(args: argparse.Namespace) -> Iterator[tuple[str, Outcome]]:
    if args.command:
        yield shlex.join(args.command), partial(_command, args.command, args.healthy)
    for path in sorted(args.folder.rglob("*.sh")) if args.folder else ():
        if path.name in ("run.sh", "twin.sh"):
            command = ["bash", str(path.resolve())]
            yield str(path), partial(_command, command, path.name == "twin.sh")
    for line in args.lines.read_text().splitlines() if args.lines else ():
        if line and not line.startswith("#"):
            yield line, partial(_command, ["bash", "-c", line], args.healthy)
    for scene, variant in every(args.lab) if args.lab is not None else ():
        if variant < args.variants:
            yield f"{scene.name}-{variant}", partial(_scene, scene, variant)


def _command(command: list[str], healthy: bool) -> Told:
    with tempfile.TemporaryDirectory(prefix="job-") as folder:
        played = play(command, cwd=Path(folder))
    return told(shlex.join(command), healthy, played.report["verdict"], played.verdicts)


def _scene(scene: Scene, variant: int) -> Told:
    truth, verdict, verdicts = witnessed(scene, variant)
    return told(f"{scene.name}-{variant}", truth.verdict == "healthy", verdict, verdicts)


if __name__ == "__main__":
    sys.exit(main())
