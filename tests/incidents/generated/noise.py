"""Noise: what else happens, with and without the fault."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tests.incidents.generated.bench import Bench
from tests.incidents.generated.model import Plan, Stage

Noise = Callable[[Bench, Plan], None]
_BURNERS = 4


def _burner(b: Bench, affinity: str, role: str) -> None:
    b.stranger(
        (
            f"{affinity}print('ready', flush=True)\nend = time.time() + 25\n"
            "while time.time() < end: sum(range(9999))"
        ),
        role=role,
    )


def _quiet(b: Bench, plan: Plan) -> None: ...


def _busy_cpu(b: Bench, plan: Plan) -> None:
    """One neighbour for each CPU."""
    for number in range(2):
        _burner(b, "", f"noise{number}")


def _short_of_cpu(b: Bench, plan: Plan) -> None:
    """All run on one CPU, which others use too."""
    for number in range(_BURNERS):
        _burner(b, "os.sched_setaffinity(0, {1})\n", f"noise{number}")
    plan.inside = (*plan.inside, "taskset", "-c", "1")


def _busy_memory(b: Bench, plan: Plan) -> None:
    b.stranger(
        (
            "held = []\nfor _ in range(40): held.append(b'x' * (10 << 20))\n"
            "print('ready', flush=True)\ntime.sleep(60)"
        ),
        role="noise",
    )


def _busy_disk(b: Bench, plan: Plan) -> None:
    path = b.folder / "run" / "other.bin"
    b.stranger(
        (
            "print('ready', flush=True)\nfor _ in range(200):\n"
            f"    open({str(path)!r}, 'wb').write(bytes(4 << 20)); time.sleep(0.05)"
        ),
        role="noise",
    )


def _retried(b: Bench, plan: Plan) -> None:
    """An ordinary step that fails at first, and is run again by its own loop until it passes."""
    marker = b.folder / "run" / b.names.file()
    loop = ("sh", "-c", 'for n in 1 2 3; do "$@" && exit 0; sleep 0.1; done; exit 1', "sh")
    step = b.ordinary([f"once {marker}"])
    step = msgspec.structs.replace(step, before=loop)
    plan.stages.insert(0, Stage((step,)))


def _served(b: Bench, plan: Plan) -> None:
    """A server and its client, both of the run. The client is started again until
    the server listens."""
    port, count = b.port(), b.draw.choice((1, 3))
    server = b.ordinary(
        [f"serve {port} {count}"], language=b.draw.choice(("python", "perl")), ms=20
    )
    loop = (
        "sh",
        "-c",
        'for n in 1 2 3 4 5 6 7 8; do "$@" && exit 0; sleep 0.4; done; exit 1',
        "sh",
    )
    asks = [f"ask {port} 5000"] * count
    client = msgspec.structs.replace(b.ordinary(asks, ms=20), before=loop)
    plan.stages.insert(0, Stage((server, client)))


def _helped(b: Bench, plan: Plan) -> None:
    """A helper that the step's shell stops in order."""
    shell = 'sleep 300 & h=$!; "$@"; s=$?; kill $h; wait $h; exit $s'
    step = b.ordinary()
    step = msgspec.structs.replace(step, before=("sh", "-c", shell, "sh"))
    plan.stages.append(Stage((step,)))


def _probing(b: Bench, plan: Plan) -> None:
    """A shell that looks for things that are not there, and does not need them."""
    line = (
        "test -e /etc/none.conf || cat /etc/none 2> /dev/null; grep -q zzz /etc/hostname || true; "
        'exec "$@"'
    )
    step = b.ordinary()
    step = msgspec.structs.replace(step, before=("sh", "-c", line, "sh"))
    plan.stages.insert(0, Stage((step,)))


NOISE: dict[str, Noise] = {
    "quiet": _quiet,
    "busy_cpu": _busy_cpu,
    "short_of_cpu": _short_of_cpu,
    "busy_memory": _busy_memory,
    "busy_disk": _busy_disk,
    "retried": _retried,
    "served": _served,
    "helped": _helped,
    "probing": _probing,
}
WEIGHTS = {"quiet": 6.0, "short_of_cpu": 0.7, "busy_cpu": 0.7, "busy_memory": 0.7, "busy_disk": 0.7}
