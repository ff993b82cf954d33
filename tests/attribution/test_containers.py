"""Containers and pods by the paths and names that runtimes make."""

from __future__ import annotations

from pathlib import Path

import pytest

from receiver import semconv as sc
from receiver.attribution.containers import NOWHERE, ContainerIdentity, place_of
from receiver.events import (
    ProcessKey,
)
from receiver.kernel.pods import container_names
from receiver.model import NOBODY, ContainerName
from receiver.work.worker import Worker
from tests.builders import Story, airflow

ID = "0123456789abcdef" * 4
POD = "5f8c1a2e-0b1d-4c3e-9a77-2b6f0e4d1c55"
SLICE = POD.replace("-", "_")  # as systemd wants it


@pytest.mark.parametrize(
    ("cgroup", "place"),
    [
        (f"/docker/{ID}", ContainerIdentity(container_id=ID, runtime="docker")),
        (f"/system.slice/docker-{ID}.scope", ContainerIdentity(container_id=ID, runtime="docker")),
        (
            f"/machine.slice/libpod-{ID}.scope/container",
            ContainerIdentity(container_id=ID, runtime="podman"),
        ),
        (
            f"/kubepods/burstable/pod{POD}/{ID}",
            ContainerIdentity(
                container_id=ID, runtime="", pod_uid=POD, pod_name="etl-0", namespace="prod"
            ),
        ),
        (
            (
                f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{SLICE}.slice/"
                f"cri-containerd-{ID}.scope"
            ),
            ContainerIdentity(
                container_id=ID,
                runtime="containerd",
                pod_uid=POD,
                pod_name="etl-0",
                namespace="prod",
            ),
        ),
        (
            f"/kubepods.slice/kubepods-pod{SLICE}.slice/crio-{ID}.scope",
            ContainerIdentity(
                container_id=ID, runtime="cri-o", pod_uid=POD, pod_name="etl-0", namespace="prod"
            ),
        ),
        ("/system.slice/airflow-scheduler.service", ContainerIdentity(unit="airflow-scheduler")),
        ("/user.slice/user-1000.slice/session-3.scope", NOWHERE),
        ("/", NOWHERE),
    ],
)
def test_containers_by_the_paths_that_runtimes_make(cgroup: str, place: ContainerIdentity) -> None:
    process = Worker(ProcessKey(1, 1), None, "x", 0)
    process.memory_cgroup = cgroup
    process.environ = ("POD_NAME=etl-0", "POD_NAMESPACE=prod")
    assert place_of(process) == place


def test_a_task_in_a_pod_has_the_pod_as_its_resource() -> None:
    story = Story()
    key = story.fork(NOBODY)
    story.exec(
        key,
        "python",
        environ=(*airflow("load"), "POD_NAME=etl-0", "POD_NAMESPACE=prod"),
        memory_cgroup=f"/kubepods/burstable/pod{POD}/{ID}",
    )
    story.exit(key)
    story.tick(10)
    found = dict(story.span("task load").resource.items)
    assert (
        found[sc.K8S_POD_UID],
        found[sc.K8S_POD_NAME],
        found[sc.K8S_NAMESPACE_NAME],
        found[sc.CONTAINER_ID],
    ) == (
        POD,
        "etl-0",
        "prod",
        ID,
    )


def test_the_kubelets_links_name_what_no_path_names(tmp_path: Path) -> None:
    for name in (
        f"etl-0_prod_load-{ID}.log",
        "not-one-of-them",
        f"UPPER_prod_x-{ID}.log",
        f"a_b-{ID}.log",
        f"p_n_c-{ID[:-1]}.log",
    ):
        (tmp_path / name).symlink_to("/nowhere")
    names = container_names(str(tmp_path))
    assert names == (ContainerName(ID, "etl-0", "prod", "load"),)
    assert container_names(str(tmp_path / "absent")) == ()
    story = Story()
    for task, told in (("before", ()), ("after", names)):
        story.core.resources.name_containers(told)
        key = story.fork(NOBODY)
        story.exec(
            key, "python", environ=airflow(task), memory_cgroup=f"/kubepods/burstable/pod{POD}/{ID}"
        )
        story.exit(key)
        story.tick(10)
    found = [dict(story.span(f"task {task}").resource.items) for task in ("before", "after")]
    wanted = (sc.CONTAINER_ID, sc.K8S_POD_NAME, sc.K8S_NAMESPACE_NAME, sc.K8S_CONTAINER_NAME)
    assert [[f.get(name) for name in wanted] for f in found] == [
        [ID, None, None, None],
        [ID, "etl-0", "prod", "load"],
    ]
