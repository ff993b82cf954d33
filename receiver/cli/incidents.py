"""`kwitness incidents list | show | note`: asks a running service."""

from __future__ import annotations

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import msgspec

from receiver.cli.common import colour_wanted, width_of
from receiver.errors import DataError, UnavailableError, UsageError
from receiver.investigate.report import Report
from receiver.service import config as configuration
from receiver.service.state import read_token
from receiver.text.printable import printable

_PATIENCE_SECONDS = 10
_LINES = 50


def incidents(args: argparse.Namespace) -> int:
    chosen = configuration.load(Path(args.config) if args.config else None)
    base = f"http://127.0.0.1:{chosen.admin.port}/incidents"
    token = _token(args, chosen)
    if args.what == "list":
        rows = json.loads(_ask(base, token))["incidents"]
        print(_listed(rows[:_LINES]) if rows else "no incidents")
        return 0
    if not args.id:
        raise UsageError(f"no incident given: kwitness incidents {args.what} ID")
    if args.what == "show":
        found = _ask(f"{base}/{args.id}?form=json", token)
        print(found if args.json else _shown(found))
        return 0
    if not args.note:
        raise UsageError('no note given: kwitness incidents note ID "what fixed it"')
    print(_ask(f"{base}/{args.id}/note", token, json.dumps({"note": args.note}).encode()), end="")
    return 0


def _listed(rows: list[dict[str, Any]]) -> str:
    """One line for each incident on a pipe, for grep; a table on a terminal."""
    if not sys.stdout.isatty():
        return "\n".join(
            printable(
                f"{row['id']}  {row['ended'] or 'running':<29}  "
                f"{row['cause'] or row['verdict']:<22}  {row['task']}: {row['summary']}"
            )
            for row in rows
        )
    from receiver.render.listing import incidents_table

    return incidents_table(rows, width_of(sys.stdout), colour=colour_wanted(terminal=True))


def _shown(found: str) -> str:
    """The report for the width of this terminal."""
    from receiver.render.terminal import details, screen

    try:
        report = msgspec.json.decode(found, type=Report)
    except ValueError as error:
        raise DataError(f"the service sent a report of another version: {error}") from None
    width, colour = width_of(sys.stdout), colour_wanted(sys.stdout.isatty())
    first = screen(report, width=width, colour=colour)
    return f"{first}\n\n{details(report, width=width, colour=colour)}"


def _token(args: argparse.Namespace, chosen: configuration.ServeConfig) -> str:
    """The token from --token-file, the configuration, or the state directory."""
    folder = chosen.state.directory or os.environ.get("STATE_DIRECTORY", "")
    place = (
        args.token_file
        or chosen.admin.token_file
        or (str(Path(folder) / "admin.token") if folder else "")
    )
    if not place:
        raise UsageError("no access token: pass -c CONFIG of the service, or --token-file FILE")
    return read_token(Path(place))


def _ask(url: str, token: str, body: bytes | None = None) -> str:
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, body, headers)  # noqa: S310 (always http on loopback)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_PATIENCE_SECONDS) as answer:
            text: str = answer.read().decode()
            return text
    except urllib.error.HTTPError as error:
        with error:
            raise DataError(
                "the service answered: "
                f"{printable(error.read(400).decode('utf-8', 'replace').strip()) or error.reason}"
            ) from None
    except OSError as error:
        raise UnavailableError(
            f"no service answers at {url.partition('/incidents')[0]}: {error}"
        ) from None
