"""Real frameworks (tools/frameworks.sh), broken from outside and whole:
Spark, dbt, Great Expectations, botocore, and others."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from receiver.units import MIB
from tests.frameworks.harness import PIPELINES, environment
from tests.incidents.lab import ROOT, Lab
from tests.incidents.machine import UnavailableError
from tests.incidents.results import Truth
from tests.incidents.scene import scene

Env = dict[str, str]


def installed(name: str) -> Path:
    """A framework's environment."""
    try:
        return environment(name)
    except (pytest.skip.Exception, pytest.fail.Exception):
        raise UnavailableError(f"{name} is not installed (tools/frameworks.sh {name})") from None


def stage(lab: Lab, name: str, pipeline: str) -> tuple[Env, Path]:
    """The environment of its commands, and the folder that its pipeline is copied to."""
    venv = installed(name)
    folder = lab.folder / "pipeline"
    shutil.copytree(PIPELINES / pipeline, folder)
    (lab.folder / "home").mkdir()
    data = lab.folder / "data"
    data.mkdir()
    (lab.folder / "truth").touch()
    env = {
        "PATH": f"{venv}/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(lab.folder / "home"),
        "VIRTUAL_ENV": str(venv),
        "PIPE_WORK": str(data),
        "LANG": "C.UTF-8",
        "TRUTH": str(lab.folder / "truth"),
        "TRUTH_DIR": str(PIPELINES),
    }
    return env, folder


def inside(lab: Lab, folder: Path, line: str) -> list[str]:
    """Directly below a shell, through a second one, or from a program that waits for it."""
    line = f"cd {folder}\n{line}"
    if lab.variant % 3 == 2:
        return [
            sys.executable,
            lab.script(
                "import subprocess\nsys.exit(subprocess.run(['bash', '-c', "
                f"{line!r}]).returncode)\n"
            ),
        ]
    return lab.shell(line if lab.variant % 3 == 0 else f"set -e\nbash -ec {shlex.quote(line)}\n")


def spark(lab: Lab) -> tuple[Env, Path]:
    env, folder = stage(lab, "spark", "spark")
    java = shutil.which("java")
    if java is None:
        raise UnavailableError("no java")
    home = next(Path(env["VIRTUAL_ENV"]).glob("lib/python3*/site-packages/pyspark"))
    real = Path(java).resolve()
    return env | {
        "JAVA_HOME": str(real.parent.parent),
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
    }, folder


@scene("I01", "A", "K", group="frameworks")
def a_spark_executor_meets_its_limit(lab: Lab) -> Truth:
    """Its Python workers grow with the rows of one day, in the executor's own memory cgroup."""
    env, folder = spark(lab)
    group = lab.cgroup("memory", memory_limit_in_bytes=(1000 + 100 * lab.variant) * MIB)
    java = lab.folder / "java/bin"
    java.mkdir(parents=True)
    shutil.copy(ROOT / "examples/limited_java.sh", java / "java")
    env |= {
        "REAL_JAVA": f"{env['JAVA_HOME']}/bin/java",
        "JAVA_HOME": str(java.parent),
        "EXECUTOR_CGROUP": str(group),
    }
    master = (
        "--master 'local-cluster[1,1,1024]' --conf spark.executor.memory=512m --conf "
        "spark.task.maxFailures=1"
    )
    lab.run(
        inside(lab, folder, f"spark-submit {master} --name users job.py hog"), env=env, timeout=180
    )
    return Truth(
        "mem.cgroup_oom",
        {"name": "pyspark.daemon"},
        rivals=("kill.supervisor",),
        also_right=("mem.child_oom",),
    )


@scene("I54", "-", "K", variants=2, group="healthy")
def a_spark_application(lab: Lab) -> Truth:
    env, folder = spark(lab)
    lab.run(
        inside(lab, folder, "spark-submit --master 'local[2]' --name users job.py"),
        env=env,
        timeout=180,
    )
    return Truth("none.healthy", verdict="healthy")


def _when_it_has_grown(lab: Lab, export: Path, least: int, number: int) -> None:
    """Stands in for a node that is drained: ends dbt by pid while it writes."""
    for _ in range(4000):
        if export.exists() and export.stat().st_size > least:
            lab.fault_at = time.monotonic()
            os.kill(int((lab.folder / "dbt.pid").read_text()), number)
            return
        time.sleep(0.02)


def _dbt(lab: Lab, rest: str) -> Path:
    env, folder = stage(lab, "dbt", "dbt")
    data = lab.folder / "data"
    rows = (400_000, 600_000, 500_000)[lab.variant % 3]
    line = (
        f"dbt run --profiles-dir . --vars '{{rows: {rows}}}' &\necho $! > {lab.folder}/dbt.pid\n"
        f"{rest}"
    )
    export = data / "users_export.csv"
    number = signal.SIGTERM if lab.variant != 1 else signal.SIGKILL
    lab.run(
        inside(lab, folder, line),
        lambda: _when_it_has_grown(lab, export, (20 + 5 * lab.variant) * MIB, number),
        env=env,
        timeout=180,
    )
    return export


@scene("I11", "A", "K", group="frameworks")
def dbt_is_ended_while_it_writes(lab: Lab) -> Truth:
    _dbt(lab, "wait $!")
    return Truth(
        "kill.supervisor",
        {"pid": os.getpid()},
        rivals=("mem.cgroup_oom",),
        also_right=("kill.drain", "fs.truncated"),
    )


@scene("I12", "A", "K", group="frameworks")
def a_check_reads_what_dbt_left(lab: Lab) -> Truth:
    """The task goes on all the same, and Great Expectations finds missing values."""
    checks = installed("gx")
    export = _dbt(
        lab,
        (
            f"wait $! || true\n{checks}/bin/python {PIPELINES}/great_expectations/validate.py "
            "$PIPE_WORK/users_export.csv 10"
        ),
    )
    return Truth("fs.truncated", {"path": str(export)}, rivals=("none.not_visible",))


@scene("I55", "-", "N", group="not_visible")
def a_check_finds_too_few_rows(lab: Lab) -> Truth:
    """The file is whole: what is wrong is its content."""
    env, folder = stage(lab, "gx", "great_expectations")
    table = lab.folder / "data/users.csv"
    table.write_text("name,user_id\n" + "".join(f"u{i},{i}\n" for i in range(1000 + lab.variant)))
    lab.run(inside(lab, folder, f"python validate.py {table} 5000"), env=env, timeout=120)
    return Truth("none.not_visible", verdict="not_visible")


def _reads(lab: Lab, delay: str) -> None:
    """examples/slots: botocore, S3 and a web identity at moto."""
    python = f"{installed('boto')}/bin/python"
    ports = [str(39100 + 10 * lab.variant + 2 * bool(delay != "0") + n) for n in range(2)]
    for port, wait in zip(ports, ("0", delay), strict=True):
        lab.outside([python, str(ROOT / "examples/slots/slow_s3.py"), port, wait])
    token = lab.folder / "web-identity-token"
    token.write_text("a token of the platform")
    shutil.copy(ROOT / "examples/slots/read_events.py", lab.folder / "read_events.py")
    lab.run(lab.wrapped([python, str(lab.folder / "read_events.py"), *ports, str(token)]))


@scene("I31", "A", "P", group="frameworks")
def reads_wait_for_new_credentials(lab: Lab) -> Truth:
    _reads(lab, str(7 + 2 * lab.variant))
    return Truth("net.credential", rivals=("net.pool", "net.silent_peer"), verdict="degraded")


@scene("I54", "-", "K", variants=3, group="healthy")
def new_credentials_come_at_once(lab: Lab) -> Truth:
    _reads(lab, "0")
    return Truth("none.healthy", verdict="healthy")


_WHOLE = (
    ("dbt", "dbt", "dbt build --profiles-dir . --vars '{rows: 20000}'"),
    (
        "luigi",
        "luigi",
        (
            "PYTHONPATH=.:$PYTHONPATH luigi --module tasks ShellSort --day 2024-01-15 "
            "--local-scheduler --workers 2"
        ),
    ),
    ("snakemake", "snakemake", "snakemake --cores 2 --forceall healthy"),
    (
        "papermill",
        "papermill",
        "python make_notebook.py . && papermill etl.ipynb out.ipynb -p day 2024-01-15",
    ),
    (
        "gx",
        "great_expectations",
        "printf 'name,user_id\\na,1\\nb,2\\n' > u.csv && python validate.py u.csv 1",
    ),
    ("dagster", "dagster", "DAGSTER_HOME=$HOME dagster job execute -f defs.py -j healthy"),
)


@scene("I54", "-", "K", variants=3 * len(_WHOLE), group="healthy")
def a_framework_runs_well(lab: Lab) -> Truth:
    name, pipeline, line = _WHOLE[lab.variant % len(_WHOLE)]
    env, folder = stage(lab, name, pipeline)
    lab.variant //= len(_WHOLE)
    lab.run(inside(lab, folder, line), env=env, timeout=180)
    if lab.status:
        raise RuntimeError(f"{name} did not work: {lab.output[-1500:]}")
    return Truth("none.healthy", verdict="healthy")
