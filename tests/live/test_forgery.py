"""Real processes of two users: one has a service that root started for it, the other has an account
and wants to be taken for it. The stories of every other way are in
tests/attribution/test_forgeries.py; here the kernel says who owns what."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from receiver import semconv as sc
from receiver.attribution.declared import DECLARED
from receiver.kernel.clock import boottime_ns
from receiver.kernel.source import LiveSource
from receiver.kernel.source_config import SourceConfig
from receiver.model import CoreOptions
from receiver.observe.core import Core
from receiver.signals import LogRecord, Span
from receiver.work.execution import Execution
from tests.builders import HOST, airflow, attributes
from tests.conftest import missing
from tests.live.conftest import DOOR

pytestmark = pytest.mark.live
PYTHON = Path("/usr/bin/python3")
MALLORY, ALICE = 61_000, 61_001  # ids without an account
RUN = f"forgery-{os.getpid()}"
LOG = f"logs/dag_id=payroll/run_id={RUN}/task_id=pay/attempt=1.log"
# Airflow's supervisor in small: one byte on stdin lets it import its package, name its attempt and
# fork; one more ends the task
SCRIPT = """
import os, sys
os.read(0, 1)
sys.path.insert(0, sys.argv[2])
import airflow
log = sys.argv[3]
os.makedirs(os.path.dirname(log), exist_ok=True)
os.close(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND))
child = os.fork()
if not child:
    os.read(0, 1)
    if sys.argv[4] == "kill":
        os.kill(os.getpid(), 9)
    os._exit(0)
os.waitpid(child, 0)
"""


class Observer:
    """A core that is fed by the kernel, as the service does it."""

    def __init__(self) -> None:
        self.source = LiveSource(SourceConfig(syscall_hook=DOOR), DECLARED.capture)
        self.core = Core(HOST, CoreOptions(task_grace_seconds=0.2))
        self.signals: list[Span | LogRecord] = []
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, argv: list[str], **options: object) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, **options
        )  # type: ignore[call-overload]
        self.started.append(process)
        return process  # type: ignore[no-any-return]

    def close(self) -> None:
        """Without its stdin, each of them goes on to its end."""
        for process in self.started:
            if process.stdin is not None:
                process.stdin.close()
            process.wait(30)
        self.source.close()

    def step(self) -> None:
        more = True
        while more:
            batch, more = self.source.drain()
            self.core.feed(batch, boottime_ns())
        if joined := self.core.members.to_watch():
            self.source.watch(process.key for process in joined)
        self.core.tick(boottime_ns())
        self.signals += self.core.take()

    def until(self, seen: Callable[[], bool], what: str) -> None:
        for _ in range(600):
            self.step()
            if seen():
                return
            select.select(
                [], [], [], 0.05
            )  # the rings are drained on a timer: there is nothing to wait for
        raise AssertionError(f"{what} was not seen")

    def is_followed(self, pid: int) -> bool:
        return any(key.tgid == pid for key in self.core.bindings.followed)

    def attempts(self, owner: int) -> list[Execution]:
        found = self.core.executions.open.values()
        return [e for e in found if e.identity.run_id == RUN and e.identity.owner == owner]

    def spans(self, owner: int) -> list[Span]:
        found = [s for s in self.signals if isinstance(s, Span) and s.name == "task pay"]
        return [
            s
            for s in found
            if attributes(s).get(sc.PIPELINE_RUN_ID) == RUN
            and attributes(s)[sc.PIPELINE_MAPPING_USER_ID] == owner
        ]


@pytest.fixture
def host(live: None) -> Iterator[Observer]:
    if os.getuid() or not PYTHON.exists():
        missing("live", f"it needs root, and {PYTHON}")
    found = Observer()
    yield found
    found.close()


@pytest.fixture
def land() -> Iterator[Path]:
    """A folder that both users can enter, with an Airflow in small that root has installed,
    and a home for each of them."""
    path = Path(tempfile.mkdtemp(prefix="kwitness-forgery-"))
    path.chmod(0o755)
    install(path / "opt", 0)
    for uid in (MALLORY, ALICE):
        home = path / str(uid)
        home.mkdir()
        os.chown(home, uid, uid)
    yield path
    shutil.rmtree(path)


def install(place: Path, owner: int) -> None:
    """`bin/airflow` and its package, of that owner."""
    package = place / "lib/python3/site-packages/airflow"
    package.mkdir(parents=True)
    (place / "bin").mkdir()
    (package / "__init__.py").touch()
    (place / "bin/airflow").write_text(SCRIPT)
    for path in (place, *place.rglob("*")):
        os.chown(path, owner, owner)


def command(installed: Path, home: Path, end: str, python: Path = PYTHON) -> list[str]:
    return [
        str(python),
        f"{installed}/bin/airflow",
        "scheduler",
        f"{installed}/lib/python3/site-packages",
        f"{home}/{LOG}",
        end,
    ]


def byte(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.write(b"x")
    process.stdin.flush()


class Supervisor:
    """One of both kinds, from its start to its end."""

    def __init__(
        self,
        host: Observer,
        owner: int,
        process: subprocess.Popen[bytes],
        *,
        is_service: bool = True,
    ) -> None:
        self.host, self.owner, self.process = host, owner, process
        if is_service:
            host.until(lambda: host.is_followed(process.pid), "the start of a scheduler")
            byte(process)
        host.until(lambda: bool(host.attempts(owner)), "the attempt")

    def end(self) -> None:
        if self.process.poll() is None:
            byte(self.process)
        self.process.wait(30)
        self.host.until(lambda: bool(self.host.spans(self.owner)), "the span of the attempt")


def service(host: Observer, land: Path) -> Supervisor:
    """Root starts it for Alice."""
    by_root = ["setpriv", "--reuid", str(ALICE), "--regid", str(ALICE), "--clear-groups", "--"]
    return Supervisor(
        host, ALICE, host.start([*by_root, *command(land / "opt", land / str(ALICE), "well")])
    )


def script(land: Path, home: Path) -> list[str]:
    install(home / "own", MALLORY)
    (home / "own/lib/python3/site-packages").rename(
        home / "own/lib/python3/modules"
    )  # a package that is in no such folder
    argv = command(home / "own", home, "kill")
    argv[3] = f"{home}/own/lib/python3/modules"
    return argv


def shadow_package(land: Path, home: Path) -> list[str]:
    install(home / "own", MALLORY)
    argv = command(land / "opt", home, "kill")
    argv[3] = f"{home}/own/lib/python3/site-packages"
    return argv


def link_to_the_interpreter(land: Path, home: Path) -> list[str]:
    (home / "python3").symlink_to(PYTHON)
    return command(land / "opt", home, "kill", home / "python3")


def copied_interpreter(land: Path, home: Path) -> list[str]:
    shutil.copy(PYTHON.resolve(), home / "python3")
    os.chown(home / "python3", MALLORY, MALLORY)
    return command(land / "opt", home, "kill", home / "python3")


@pytest.mark.parametrize(
    "forge",
    [script, shadow_package, link_to_the_interpreter, copied_interpreter],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("first", ["forged", "real"])
def test_a_user_with_an_account_is_not_taken_for_the_service(
    host: Observer, land: Path, forge: Callable[[Path, Path], list[str]], first: str
) -> None:
    argv = forge(land, land / str(MALLORY))

    def forged() -> Supervisor:
        environment = {"PATH": "/usr/bin:/bin", "PYTHONHOME": "/usr"}
        return Supervisor(
            host,
            MALLORY,
            host.start(argv, user=MALLORY, group=MALLORY, extra_groups=[], env=environment),
        )

    pair = [forged(), service(host, land)] if first == "forged" else [service(host, land), forged()]
    assert {e.identity.grade for e in host.attempts(ALICE)} == {"certain"}
    assert {e.identity.grade for e in host.attempts(MALLORY)} == {"ambiguous"}
    for supervisor in pair:
        supervisor.end()
    (real,), (claim,) = host.spans(ALICE), host.spans(MALLORY)
    assert (
        attributes(real)[sc.PIPELINE_MAPPING_GRADE],
        attributes(claim)[sc.PIPELINE_MAPPING_GRADE],
    ) == ("certain", "ambiguous")
    assert attributes(real)[sc.PIPELINE_TASK_RUN_RESULT] == "success" and not real.error
    assert (
        attributes(claim)[sc.PIPELINE_TASK_RUN_RESULT] == "failure"
        and claim.trace_id != real.trace_id
    )
    assert "root or that user owns its executable and the package" in str(
        attributes(real)[sc.PIPELINE_MAPPING_EVIDENCE]
    )


def test_an_environment_is_not_either(host: Observer, land: Path) -> None:
    real = service(host, land)
    environment = dict(entry.split("=", 1) for entry in airflow("pay", dag="payroll", run=RUN)) | {
        "PATH": "/usr/bin:/bin"
    }
    argv = [str(PYTHON), "-c", "import os; os.read(0, 1); os.kill(os.getpid(), 9)"]
    options = {"user": MALLORY, "group": MALLORY, "extra_groups": [], "env": environment}
    forged = Supervisor(host, MALLORY, host.start(argv, **options), is_service=False)
    assert {e.identity.grade for e in host.attempts(MALLORY)} == {"ambiguous"}
    byte(forged.process)
    forged.process.wait(30)
    real.end()
    (span,) = host.spans(ALICE)
    assert (
        attributes(span)[sc.PIPELINE_TASK_RUN_RESULT] == "success"
        and attributes(span)[sc.PIPELINE_MAPPING_GRADE] == "certain"
    )


def test_others_may_not_write_what_the_service_runs(host: Observer, land: Path) -> None:
    (land / "opt/lib/python3/site-packages/airflow/__init__.py").chmod(0o666)
    real = service(host, land)
    (attempt,) = host.attempts(ALICE)
    assert (
        attempt.identity.grade == "probable"
        and "belongs to a third user" in attempt.identity.evidence
    )
    real.end()
