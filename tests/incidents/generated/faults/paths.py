"""Paths that are missing or exist, and locks that somebody holds."""

from __future__ import annotations

from tests.incidents.generated.bench import Bench
from tests.incidents.generated.faults.base import both, failed, fault, logged
from tests.incidents.generated.model import Plan, Stage
from tests.incidents.results import Truth

_MISSING = "[Nn]o such file|ENOENT|NoSuchFile|FileNotFound"
_EXISTS = "exists|EEXIST|cannot overwrite|FileAlready"


@fault("K")
def input_was_removed(b: Bench) -> Plan:
    """An earlier step of the run removed it."""
    path, other = b.file(20), b.file(20)
    first = b.ordinary([f"remove {path if b.sick else other}"], role="remover")
    step = b.step("victim", [f"read {path}"])
    truth = Truth(
        "fs.path_missing",
        {"path": str(path), "pid": "remover"},
        rivals=("proc.interpreter", "fs.eacces"),
    )
    return Plan(
        stages=b.stages(Stage((first,)), Stage((step,))),
        truth=truth,
        happened=both(logged(_MISSING), failed),
    )


@fault("K")
def input_was_never_made(b: Bench) -> Plan:
    path = b.path() if b.sick else b.file(20)
    truth = Truth("fs.path_missing", {"path": str(path)}, rivals=("proc.interpreter", "fs.eacces"))
    return Plan(
        stages=b.one(b.step("victim", [f"read {path}"])),
        truth=truth,
        happened=both(logged(_MISSING), failed),
    )


@fault("K")
def output_folder_exists(b: Bench) -> Plan:
    """Another step of the run, or an earlier run, has made it."""
    kind = b.draw.choice(("mkdir", "create"))
    earlier = b.draw.random() < 0.5
    path, other = b.path(), b.path()
    stages = [Stage((b.step("victim", [f"{kind} {path}"]),))]
    culprit: dict[str, object] = {"path": str(path)}
    if earlier:
        stages.insert(
            0, Stage((b.ordinary([f"{kind} {path if b.sick else other}"], role="maker"),))
        )
        culprit["pid"] = "maker"
    elif b.sick:
        path.mkdir() if kind == "mkdir" else path.touch()
    truth = Truth("fs.path_exists", culprit, rivals=("fs.lock", "fs.path_missing"))
    return Plan(stages=b.stages(*stages), truth=truth, happened=both(logged(_EXISTS), failed))


@fault("K", languages=("python", "bash", "c", "perl", "go"))
def lock_of_a_stranger(b: Bench) -> Plan:
    path, other = b.file(1), b.file(1)
    held = path if b.sick else other
    b.stranger(
        f"import fcntl\nf = open({str(held)!r}, 'a'); fcntl.flock(f, fcntl.LOCK_EX); "
        "print('ready', flush=True); time.sleep(300)"
    )
    truth = Truth("fs.lock", {"pid": "stranger"}, rivals=("fs.eacces",))
    return Plan(stages=b.one(b.step("victim", [f"lock {path}"])), truth=truth, happened=failed)


@fault("K", languages=("python", "bash", "c", "perl", "go"), at_least_ms=500)
def lock_of_another_step(b: Bench) -> Plan:
    path, other = b.file(1), b.file(1)
    ms = b.composition.milliseconds
    language = b.draw.choice(("python", "bash", "c", "perl"))
    holder = b.ordinary(
        [f"lock {path if b.sick else other}", f"idle {ms + 700}"], role="holder", language=language
    )
    step = b.step("victim", ["idle 300", f"lock {path}"])
    truth = Truth("fs.lock", {"pid": "holder"}, rivals=("fs.eacces",))
    return Plan(stages=b.stages(Stage((step, holder))), truth=truth, happened=failed)


@fault("K", languages=("python",))
def database_is_locked(b: Bench) -> Plan:
    """SQLite: fcntl locks of a stranger with an open transaction."""
    path = b.path()
    make = (
        f"import sqlite3\nc = sqlite3.connect({str(path)!r}, isolation_level=None)\n"
        "c.execute('create table if not exists t (a)')\n"
    )
    hold = "c.execute('begin exclusive')\n" if b.sick else ""
    b.stranger(f"{make}{hold}print('ready', flush=True)\ntime.sleep(300)")
    tool = b.folder / "bin" / f"{b.names.program()}.py"
    tool.write_text(
        f"import sqlite3\nc = sqlite3.connect({str(path)!r}, timeout=0.4)\n"
        "c.execute('insert into t values (1)')\nc.commit()\n"
    )
    truth = Truth("fs.lock", {"pid": "stranger"}, rivals=("fs.eacces",))
    step = b.step("victim", [f"run python3 {tool}"])
    return Plan(stages=b.one(step), truth=truth, happened=both(logged("locked"), failed))


@fault("K", languages=("python", "bash", "c", "perl", "node", "go"))
def path_of_the_wrong_kind(b: Bench) -> Plan:
    """A folder in place of a file, or a name that is too long."""
    kind = b.draw.choice(("folder", "name"))
    good = b.file(20)
    bad = (
        b.folder / "files" / b.names.folder()
        if kind == "folder"
        else b.folder / "files" / ("x" * 300)
    )
    if kind == "folder":
        bad.mkdir()
    step = b.step("victim", [f"write {bad if b.sick else good} 8 50"])
    truth = Truth("fs.path_unusable", {"path": str(bad)}, rivals=("fs.path_missing", "fs.eacces"))
    pattern = "[Ii]s a directory|EISDIR|name too long|ENAMETOOLONG"
    return Plan(stages=b.one(step), truth=truth, happened=both(logged(pattern), failed))
