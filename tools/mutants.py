"""Sixty fixed faults, put into a copy of the code one at a time: the tests must notice them.

`make test-mutants` copies the tree to a temporary folder for each worker, applies one mutant, and
runs the quick tests: first those that the mutant names, then the whole set. A mutant that passes
all of them survives. The exit status is 1 when more than ALLOWED survive, when a snippet does not
occur exactly once in its room, or when the tests fail without any mutant.

Snippets are compared token by token and looked for in a whole room.
So a formatter that wraps a line elsewhere changes nothing, and neither does a move within the room.
"""

from __future__ import annotations

import argparse
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.mutant_list import MUTANTS, QUICK, SLOW, Mutant

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = 6
TIMEOUT_SECONDS = 400  # a mutant that makes the tests run for that long is noticed, too


def survives(mutant: Mutant, tree: Path) -> tuple[bool, str]:
    """Whether every test passes with the fault in that copy; and the first that does not."""
    target = mutant.place(tree)
    whole = target.read_text()
    try:
        _rewrite(target, mutant.applied(whole))
        first = _failure(tree, (mutant.hint,))
        found = first or _failure(tree, tuple(t for t in QUICK if t != mutant.hint))
    finally:
        _rewrite(target, whole)
    return not found, found


def _rewrite(target: Path, text: str) -> None:
    """Without what is cached of it: a change within one second and of the same length would
    not be seen."""
    target.write_text(text)
    for cached in (target.parent / "__pycache__").glob(f"{target.stem}.*.pyc"):
        cached.unlink()


def _failure(tree: Path, tests: tuple[str, ...]) -> str:
    """The first test that fails, or why no test ran; empty when all pass."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--tb=no"]
    command += ["--hypothesis-seed=0", *(f"--deselect={each}" for each in SLOW), *tests]
    keep = {k: v for k, v in os.environ.items() if not k.startswith("KWITNESS_")}
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env=keep,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "(the tests did not come to an end)"
    if done.returncode == 0:
        return ""
    failed = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    return failed[1] if failed else f"(pytest exited with {done.returncode})"


def copied(to: Path) -> Path:
    """The tree without its history, its environment and its build products."""
    leave = shutil.ignore_patterns(
        ".git", ".venv", "dist", "__pycache__", ".*_cache", ".hypothesis"
    )
    return Path(shutil.copytree(ROOT, to, ignore=leave, symlinks=True))


def misplaced() -> list[str]:
    """Snippets that do not occur exactly once."""
    out = []
    for mutant in MUTANTS:
        try:
            mutant.place(ROOT)
        except ValueError as error:
            out.append(str(error))
    return out


def run(mutants: list[Mutant], workers: int) -> list[Mutant]:
    """The survivors. Progress goes to stdout. Raises RuntimeError when the tests fail
    without a mutant."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees: queue.Queue[Path] = queue.Queue()
        for number in range(workers):
            trees.put(copied(Path(folder) / str(number)))

        def with_tree(mutant: Mutant | None) -> tuple[bool, str]:
            tree = trees.get()
            try:
                return survives(mutant, tree) if mutant else (False, _failure(tree, QUICK))
            finally:
                trees.put(tree)

        if broken := with_tree(None)[1]:
            raise RuntimeError(f"without any mutant: {broken} fails")
        survivors = []
        pool = ThreadPoolExecutor(workers)
        try:
            for mutant, (lives, by) in zip(mutants, pool.map(with_tree, mutants), strict=True):
                word = "SURVIVES" if lives else "killed  "
                print(word, mutant, f"[{by}]" if by else "", flush=True)
                survivors += [mutant] if lives else []
        finally:  # an interrupt does not wait for the mutants that have not begun
            pool.shutdown(cancel_futures=True)
        return survivors


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="mutants whose room or snippet holds this text")
    options = parser.parse_args()
    if wrong := misplaced():
        print("\n".join(wrong), file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # removes the copies
    began = time.monotonic()
    chosen = [m for m in MUTANTS if options.only in str(m)]
    try:
        survivors = run(chosen, options.workers)
    except RuntimeError as error:
        print(f"mutants: {error}", file=sys.stderr)
        return 1
    minutes = (time.monotonic() - began) / 60
    print(
        f"{len(survivors)} of {len(chosen)} mutants survive (at most {ALLOWED} may), "
        f"{minutes:.1f} minutes"
    )
    return 1 if len(survivors) > ALLOWED else 0


if __name__ == "__main__":
    sys.exit(main())
