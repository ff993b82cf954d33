"""Composes incidents from a seed, plays each with its healthy twin, and prints how the
answers came out.

`python -m tests.incidents.generate --set development --count 20 --save FILE`.
A run that is in the file is not played again. The judging set prints aggregates alone.
"""

from __future__ import annotations

import argparse
import fcntl
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tests.incidents.generated.compose import SETS, compose, twin
from tests.incidents.generated.judge import Line, line_of, summary
from tests.incidents.generated.model import Composition
from tests.incidents.generated.page import put, section
from tests.incidents.generated.play import Played, VoidError, play
from tests.incidents.generated.service import play_all
from tests.incidents.machine import UnavailableError
from tests.truth.told import Told, save

WHOLE = 400
_RECORDINGS = (
    "of the development set: a recording of each live run, with its truth beside it "
    "(tests.incidents.weigh counts them)"
)


def main() -> int:
    parser = _parser()
    args = parser.parse_args()
    if args.fault and args.set == "judging":
        parser.error("--fault looks into the judging set")
    if args.recordings and args.set == "judging":
        parser.error("--recordings keeps the judging set")
    if args.service:
        found = play_all(_left(args, set()))
        if args.set != "judging":
            print("\n".join(found.alarms))
        print(found)
        return 0
    # What is ignored here would be ignored by every program that is played.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    lines = _saved(args.save)
    if not args.summary:
        for composition in _left(args, {(e.number, e.sick) for e in lines}):
            keep = _recording(args.recordings, composition)
            line, played = _one(composition, args.truth, keep)
            if keep is not None:
                _keep_truth(keep, played)
            lines.append(line)
            _keep(args, line, played)
    print("\n".join(summary(lines)))
    if args.page is not None:
        args.page.write_text(put(args.page.read_text(), section(lines)))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tests.incidents.generate", description=__doc__)
    parser.add_argument("--set", choices=tuple(SETS), default="development")
    parser.add_argument("--from", type=int, default=0, dest="first", metavar="NUMBER")
    parser.add_argument("--count", type=int, default=WHOLE)
    parser.add_argument(
        "--seconds", type=float, default=float("inf"), help="begin no composition after so many"
    )
    parser.add_argument(
        "--save",
        type=Path,
        metavar="FILE",
        help="one line of JSON for each run; whole reports beside it, if it is no judging set",
    )
    parser.add_argument(
        "--truth",
        action="store_true",
        help="let the second witness (strace) decide the sentences of each report; "
        "with --save, what it said is kept beside it",
    )
    parser.add_argument(
        "--service",
        action="store_true",
        help="play below one `kwitness serve`, and count what is at its /incidents",
    )
    parser.add_argument("--no-twins", action="store_true")
    parser.add_argument("--only-twins", action="store_true")
    parser.add_argument("--recordings", type=Path, metavar="FOLDER", help=_RECORDINGS)
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        help="of the development set: compositions with this fault only",
    )
    parser.add_argument(
        "--summary",
        action="store_true",
        help="print the aggregates of the saved runs, and play nothing",
    )
    parser.add_argument(
        "--page",
        type=Path,
        metavar="FILE",
        help="put the aggregates into this page (docs/accuracy.md)",
    )
    return parser


def _left(args: argparse.Namespace, known: set[tuple[int, bool]]) -> Iterator[Composition]:
    began = time.monotonic()
    for number in range(args.first, args.first + args.count):
        if time.monotonic() - began > args.seconds:
            return
        composition = compose(args.set, number)
        if args.fault and composition.fault not in args.fault:
            continue
        for each in (composition, twin(composition)):
            if (args.no_twins and not each.sick) or (args.only_twins and each.sick):
                continue
            if (each.number, each.sick) not in known:
                yield each


def _recording(folder: Path | None, composition: Composition) -> Path | None:
    if folder is None or composition.structure == "story":
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{composition.number}-{'incident' if composition.sick else 'twin'}.kw"


def _keep_truth(recording: Path, played: Played | str) -> None:
    """What is expected of a recording, in the form of the golden ones. A void run has none."""
    if isinstance(played, str):
        recording.unlink(missing_ok=True)
        return
    truth = played.truth
    expected = {
        "verdict": truth.verdict,
        "cause": truth.cause,
        "also_right": list(truth.also_right),
        "culprit": truth.culprit,
        "scene": played.composition.fault,
    }
    recording.with_suffix(".json").write_bytes(msgspec.json.encode(expected) + b"\n")


def _one(composition: Composition, witnessed: bool, keep: Path | None) -> tuple[Line, Played | str]:
    try:
        played = play(composition, witnessed=witnessed, keep=keep)
    except UnavailableError as why:
        return Line(number=composition.number, sick=composition.sick, state="unavailable"), str(why)
    except (VoidError, RuntimeError, OSError) as why:
        return Line(
            number=composition.number, sick=composition.sick, state="void"
        ), f"{type(why).__name__}: {why}"
    return line_of(played), played


def _saved(path: Path | None) -> list[Line]:
    if path is None or not path.exists():
        return []
    return [msgspec.json.decode(line, type=Line) for line in path.read_bytes().splitlines()]


def _keep(args: argparse.Namespace, line: Line, played: Played | str) -> None:
    """The judging set keeps its scores alone."""
    if args.save is not None:
        args.save.parent.mkdir(parents=True, exist_ok=True)
        with args.save.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(msgspec.json.encode(line) + b"\n")
    if args.set == "judging":
        return
    name = f"{line.number}-{'incident' if line.sick else 'twin'}"
    if isinstance(played, str):
        print(f"---- {name}: {line.state}: {played}", flush=True)
        return
    if args.save is not None:
        folder = args.save.with_suffix("")
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.json").write_bytes(msgspec.json.encode(played))
        if args.truth and played.composition.structure != "story":
            save(args.save.with_suffix(".truth"), _witnessed(name, played))
    print(told(line, played), flush=True)


def _witnessed(name: str, played: Played) -> Told:
    return Told(
        name=f"{name} {played.composition.fault}",
        healthy=not played.composition.sick,
        verdict=played.report["verdict"],
        true=played.true,
        false=played.false,
        undecided=played.undecided,
    )


def told(line: Line, played: Played) -> str:
    """One line about a run of the development set."""
    report, c = played.report, played.composition
    lead = report["hypotheses"][0] if report["hypotheses"] else None
    said = f"{lead['cause']} {lead['confidence']:.2f} {lead['culprit']}" if lead is not None else ""
    good = line.right and not line.alarm if not line.sick else line.right
    where = (
        f"{c.language} in {c.structure}, {'/'.join(c.wrappers) or 'direct'}, {c.output}, "
        f"{c.noise}, {c.milliseconds} ms"
    )
    false = "".join(f"\n  FALSE {each}" for each in played.false)
    return (
        f"{'ok  ' if good else 'BAD '} {line.number} "
        f"{c.fault if line.sick else 'twin of ' + c.fault} ({where}): "
        f"{played.truth.cause} {played.truth.culprit} → {report['verdict']} {said}{false}"
    )


if __name__ == "__main__":
    sys.exit(main())
