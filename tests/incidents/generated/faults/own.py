"""What the kernel does not show: own decisions, wrong data, answers of remote applications."""

from __future__ import annotations

from tests.incidents.generated.bench import OK, Bench
from tests.incidents.generated.faults.base import NOTHING, both, failed, fault, logged
from tests.incidents.generated.model import Plan


@fault("N", weight=2)
def own_decision(b: Bench) -> Plan:
    status = b.draw.choice((1, 2, 3, 7, 42, 99))
    step = b.step("victim", [f"exit {status}"] if b.sick else [])
    return Plan(stages=b.one(step), truth=NOTHING, happened=both(logged("stop"), failed))


@fault("N", weight=2)
def wrong_data(b: Bench) -> Plan:
    """A whole file, with a row that the step does not accept."""
    path, word = b.path(), b.draw.choice(("NaN", "null", "-1;", "duplicate"))
    path.write_text("1,2,3\n" * 40 + (f"{word}\n" if b.sick else ""))
    return Plan(
        stages=b.one(b.step("victim", [f"check {path} {word}"])),
        truth=NOTHING,
        happened=both(logged(word), failed),
    )


@fault("N", languages=("python", "bash", "c", "java", "perl", "node", "go"), weight=2)
def remote_application_error(b: Bench) -> Plan:
    word = b.draw.choice(("denied", "invalid", "quota", "error"))
    port = b.server(f"c.recv(64); c.sendall(b'{word}\\n'); c.close()" if b.sick else OK)
    step = b.step("victim", [f"ask {port} 5000"])
    return Plan(stages=b.one(step), truth=NOTHING, happened=both(logged(word), failed))
