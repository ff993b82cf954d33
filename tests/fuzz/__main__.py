"""Searches for inputs that break a target: `python -m tests.fuzz TARGET SECONDS` (needs atheris,
`make fuzz`).

An input that raises is left in tests/fuzz/found as TARGET-HASH. Mend the cause, and keep the file:
it is a test from then on.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris

with atheris.instrument_imports(include=["receiver"]):
    from tests.fuzz.seeds import seeds
    from tests.fuzz.targets import FOUND, TARGETS


def main() -> None:
    if len(sys.argv) == 1:
        print(*(target.__name__ for target in TARGETS))
        return
    name, seconds = sys.argv[1], int(sys.argv[2])
    target = next(t for t in TARGETS if t.__name__ == name)
    with TemporaryDirectory(prefix="kwitness-corpus-") as folder:
        for number, seed in enumerate(seeds(name)):
            Path(folder, str(number)).write_bytes(seed)
        options = [
            f"-max_total_time={seconds}",
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-max_len=65536",
        ]
        atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={FOUND}/{name}-", folder], target)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
