"""`python -m tests.incidents [--save FOLDER] [SCENE…]`: plays scenes under kwitness and prints how
the answers came out."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from tests.incidents.machine import UnavailableError
from tests.incidents.results import Result
from tests.incidents.scene import every, play
from tests.incidents.score import score


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--save", metavar="FOLDER", help="keep each run's result (and recording) there"
    )
    parser.add_argument("--record", action="store_true", help="keep recordings, too")
    parser.add_argument("--variants", type=int, default=99, help="at most so many of each scene")
    parser.add_argument("--skip", action="append", default=[], help="leave these out")
    parser.add_argument("scenes", nargs="*")
    args = parser.parse_args()
    folder = Path(args.save).resolve() if args.save else None  # runs have a place of their own
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    bad = 0
    for chosen, variant in every(args.scenes):
        if variant >= args.variants or chosen.name in args.skip or chosen.group in args.skip:
            continue
        name = f"{chosen.name}-{variant}"
        keep = folder / f"{name}.kw" if folder is not None and args.record else None
        try:
            result = play(chosen, variant, keep)
        except UnavailableError as why:
            print(f"---- {name}: not here: {why}", flush=True)
            continue
        except (RuntimeError, OSError, AssertionError) as error:
            bad += 1
            print(f"!!!! {name}: {error}", flush=True)
            continue
        bad += not line(result)
        if folder is not None:
            (folder / f"{name}.json").write_bytes(msgspec.json.encode(result))
    return 1 if bad else 0


def line(result: Result) -> bool:
    """Prints one run; gives whether it came out right."""
    s, report = score(result), result.report
    lead = report["hypotheses"][0] if report["hypotheses"] else None
    said = f"{lead['cause']} {lead['confidence']:.2f}" if lead is not None else ""
    good = s.right and not s.invented
    culprit = (
        ""
        if s.culprit_at_1 in (True, None)
        else f" culprit {lead['culprit'] if lead else None} not {result.truth.culprit}"
    )
    mark = "ok  " if good else "BAD "
    print(
        (
            f"{mark} {result.scene}-{result.variant}: {result.truth.cause} → {report['verdict']} "
            f"{said}{culprit}"
        ),
        flush=True,
    )
    return good


if __name__ == "__main__":
    sys.exit(main())
