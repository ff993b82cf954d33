"""A whole Airflow 3 (tools/frameworks.sh): its tasks broken from outside, and whole."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

from receiver.units import MIB
from tests.incidents.lab import Lab
from tests.incidents.machine import join
from tests.incidents.results import Truth
from tests.incidents.scene import scene
from tests.incidents.scenes.frameworks import stage

_DAG = """
import datetime as dt

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG("nightly", start_date=dt.datetime(2024, 1, 1), schedule=None, catchup=False):
    first = BashOperator(task_id="extract", bash_command="seq 1 20000 > {data}/rows && sleep 0.5")
    first >> BashOperator(task_id="transform", bash_command="{line}")
"""


def _airflow(lab: Lab, step: str, during: Callable[[], None] | None = None) -> None:
    """A whole Airflow 3 with its own store, a DAG of two tasks, the second of which runs `step`."""
    env, folder = stage(lab, "airflow3", "airflow")
    home, dags = lab.folder / "airflow", lab.folder / "dags"
    home.mkdir()
    dags.mkdir()
    script = lab.script(step, "transform")
    line = f"{sys.executable} -S {script}"
    line = (line, f"set -e; {line}; echo done", f"bash -c '{line}' && echo done")[lab.variant % 3]
    (dags / "nightly.py").write_text(_DAG.format(data=lab.folder / "data", line=line))
    env |= {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    }
    lab.run(
        [f"{env['VIRTUAL_ENV']}/bin/python", str(folder / "drive.py"), "nightly:r1"],
        during,
        env=env,
        timeout=300,
    )


_SAY_ALOUD = (
    "open(os.path.join(os.path.dirname(sys.argv[0]), 'step.pid'), 'w').write(str(os.getpid()))\n"
)


@scene("I11", "A", "K", group="frameworks")
def an_airflow_task_is_ended_from_outside(lab: Lab) -> Truth:
    def kill() -> None:
        noted = lab.folder / "step.pid"
        for _ in range(6000):
            if noted.exists() and noted.read_text():
                time.sleep(1.5)
                os.kill(
                    int(noted.read_text()), signal.SIGTERM if lab.variant == 2 else signal.SIGKILL
                )
                return
            time.sleep(0.02)

    work = "n = 0\nfor part in range(600):\n    n += sum(range(20000))\n    time.sleep(0.01)\n"
    _airflow(lab, _SAY_ALOUD + work, kill)
    return Truth("kill.supervisor", {"pid": os.getpid()}, rivals=("mem.cgroup_oom",))


@scene("I01", "A", "K", group="frameworks")
def an_airflow_task_meets_its_limit(lab: Lab) -> Truth:
    group = lab.cgroup("memory", memory_limit_in_bytes=(96 + 32 * lab.variant) * MIB)
    grow = (
        "held = []\nfor _ in range(300):\n    held.append(bytearray(b'x' * (1 << 20)))\n"
        "    time.sleep(0.02)\n"
    )
    _airflow(lab, join(group) + grow)
    return Truth(
        "mem.cgroup_oom",
        {"name": "transform.py"},
        rivals=("kill.supervisor",),
        also_right=("mem.child_oom",),
    )


@scene("I54", "-", "K", variants=2, group="healthy")
def an_airflow_runs_well(lab: Lab) -> Truth:
    _airflow(lab, "print(sum(range(3_000_000)))\ntime.sleep(1)\n")
    return Truth("none.healthy", verdict="healthy")
