"""The checks and the lines of the observer of a command."""

from __future__ import annotations

import argparse
import contextlib
import sys

from receiver.cli.common import fitted
from receiver.errors import KwitnessError
from receiver.safe.outputs import check_distinct


def check_files(args: argparse.Namespace) -> None:
    """Raises UsageError when two options name one file."""
    options = {
        f"--{name.replace('_', '-')}": getattr(args, name)
        for name in ("history", "report", "facts", "otlp_json")
    }
    check_distinct({"-o": getattr(args, "output", None), **options})


def describe(error: Exception) -> str:
    return str(error) if isinstance(error, KwitnessError) else f"{type(error).__name__}: {error}"


def print_text(text: str) -> None:
    """Prints to stderr, if it is open."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def print_fitted(line: str) -> None:
    """Prints one line to stderr, at the width of its terminal."""
    print_text(fitted(line, sys.stderr))
