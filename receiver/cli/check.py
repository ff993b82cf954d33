"""`kwitness check`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import urllib.error
import urllib.request
from pathlib import Path

import msgspec

from receiver.cli import confined
from receiver.cli.common import print_line
from receiver.cli.explain import explain
from receiver.errors import KwitnessError
from receiver.kernel.confinement import Survey, survey
from receiver.kernel.hooks import BLIND_SPOTS, Coverage
from receiver.kernel.remedies import host_kind, remedy
from receiver.service import config as configuration
from receiver.service.state import state_path
from receiver.service.symbols import available
from receiver.text.printable import printable


def check(args: argparse.Namespace) -> int:
    """0 ready, 1 degraded, 2 cannot run."""
    if args.explain:
        return explain(args)
    if args.ready:
        return ready(args)
    from receiver.attribution.declared import DECLARED
    from receiver.kernel.probes import Probes

    chosen = configuration.load(Path(args.config) if args.config else None)
    place = state_path(chosen.state.directory, os.environ)
    confinement = survey(chosen.privileges.user, chosen.privileges.helper_user, place)
    try:
        probes = Probes(lifecycle_bytes=1 << 16, bulk_bytes=1 << 16, capture=DECLARED.capture)
        try:
            probes.attach()
            # as for a task: a refused hook appears in the coverage
            with contextlib.suppress(OSError):
                probes.attach_calls()
            coverage, libbpf = probes.coverage(), probes.library.version
        finally:
            probes.close()
    except KwitnessError as error:
        advice = remedy(error.topic, host_kind())
        if args.json:
            print(json.dumps({"status": "cannot run", "why": str(error), "remedy": advice}))
        else:
            print_line(f"cannot run: {error}")
            if advice:
                print_line(f"  here: {advice}")
        return 2
    missing = [hook for hook in coverage if not hook.attached]
    if args.json:
        found = {
            "status": "degraded" if missing else "ready",
            "hooks": msgspec.to_builtins(coverage),
            "blind_spots": BLIND_SPOTS,
            "confinement": msgspec.to_builtins(confinement),
            "libbpf": libbpf,
        }
        print(json.dumps(found))
    else:
        _print(coverage, confinement, libbpf)
    return 1 if missing else 0


def _print(coverage: list[Coverage], confinement: Survey, libbpf: str) -> None:
    for hook in coverage:
        state = "attached" if hook.attached else f"MISSING ({hook.why})"
        print_line(f"  {hook.hook:<28} {state:<10} {hook.blind}")
    print_line(f"  library: {libbpf}")
    by = "by bcc" if available() else "not available, only file and offset; install python3-bpfcc"
    print_line(f"  names of functions in crashes: {by}")
    for line in confined.lines(confinement):
        print_line(f"  {line}")
    for what in BLIND_SPOTS:
        print_line(f"  not visible anywhere: {what}")
    missing = [hook.hook for hook in coverage if not hook.attached]
    print_line(f"degraded: without {', '.join(missing)}" if missing else "ready")


def ready(args: argparse.Namespace) -> int:
    """Prints the answer of /readyz: 0 ready, 1 not ready or no answer. For health checks and
    probes.
    """
    chosen = configuration.load(Path(args.config) if args.config else None)
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{chosen.admin.port}/readyz", timeout=3
        ) as answer:
            said, status = answer.read(100).decode("utf-8", "replace"), 0
    except urllib.error.HTTPError as error:
        with error:
            said, status = error.read(100).decode("utf-8", "replace"), 1
    except OSError as error:
        said, status = f"no service answers on port {chosen.admin.port}: {error}", 1
    print_line(printable(said.strip()))
    return status
