"""How processes begin."""

from __future__ import annotations

from typing import Any

from receiver.events import Exec, Fork, ImageFlag, ProcessKey, StdioKind, Title
from receiver.model import NOBODY, Watch
from tests.story.teller import MS, SELF, Teller


class Processes(Teller):
    """Processes begin, change and are started by others."""

    def fork(
        self, parent: ProcessKey, *, comm: str = "python3", pid: int = 0, uid: int = 1000
    ) -> ProcessKey:
        self.next_pid += 1
        key = ProcessKey(pid or self.next_pid, self.now + MS)
        self.say(
            Fork,
            process=key,
            parent=parent,
            real_parent=NOBODY,
            cgroup_id=1,
            uid=uid,
            pid_namespace_pid=key.tgid,
            comm=comm,
        )
        return key

    def exec(
        self,
        key: ProcessKey,
        *argv: str,
        parent: ProcessKey = NOBODY,
        environ: tuple[str, ...] = (),
        **other: Any,
    ) -> None:
        values: dict[str, Any] = {
            "process": key,
            "parent": parent,
            "real_parent": NOBODY,
            "cgroup_id": 1,
            "memory_cgroup_id": 2,
            "stdin_inode": 0,
            "stdout_inode": 0,
            "stderr_inode": 0,
            "uid": 1000,
            "gid": 1000,
            "argc": len(argv),
            "pid_namespace_pid": key.tgid,
            "pid_namespace_inode": 1,
            "mount_namespace_inode": 2,
            "network_namespace_inode": 3,
            "stdin_kind": StdioKind.PIPE if other.get("stdin_inode") else StdioKind.CLOSED,
            "stdout_kind": StdioKind.PIPE if other.get("stdout_inode") else StdioKind.FILE,
            "stderr_kind": 1,
            "image_flags": 0,
            "comm": argv[0].rpartition("/")[2][:15],
            "executable": f"/usr/bin/{argv[0]}",
            "working_directory": "/work",
            "memory_cgroup": "/jobs/one",
            "argv": argv,
            "environ": environ,
        }
        self.say(Exec, **(values | other))

    def spawn(
        self,
        parent: ProcessKey,
        *argv: str,
        environ: tuple[str, ...] = (),
        uid: int = 1000,
        **other: Any,
    ) -> ProcessKey:
        key = self.fork(parent, uid=uid)
        self.exec(key, *argv, parent=parent, environ=environ, uid=uid, **other)
        return key

    def service(
        self, *argv: str, uid: int = 1000, before: str = "/usr/lib/systemd/systemd", **other: Any
    ) -> ProcessKey:
        """A program that root's service manager starts for a user:
        one exec with uid 0 before it and `uid` after it."""
        manager = self.fork(NOBODY, uid=0)
        self.exec(manager, "manager", uid=0, executable=before)
        key = self.fork(manager, uid=0)
        known: dict[str, Any] = {
            "executable": "/usr/bin/python3.11",
            "image_flags": int(ImageFlag.ROOT_OWNS),
        }
        self.exec(key, *argv, parent=manager, uid=uid, **(known | other))
        return key

    def title(self, key: ProcessKey, title: str) -> None:
        self.say(Title, process=key, comm=title[:15], title=title)

    def command(self, *argv: str, name: str = "job") -> ProcessKey:
        """Starts a command as `kwitness run` would; SELF is us."""
        self.next_pid += 1
        self.session.watch(Watch(self.next_pid + 1, SELF.tgid, name), self.now)
        return self.spawn(SELF, *argv)

    def task(self, name: str, *, run: str = "r1", parent: ProcessKey = NOBODY) -> ProcessKey:
        """A process of an Airflow task."""
        return self.spawn(parent, name, environ=airflow(name, run=run))


def airflow(
    task: str = "load", *, dag: str = "etl", run: str = "r1", attempt: int = 1, **other: str
) -> tuple[str, ...]:
    """The environment of a subprocess of an Airflow task."""
    values = {"DAG_ID": dag, "TASK_ID": task, "DAG_RUN_ID": run, "TRY_NUMBER": str(attempt)} | other
    return tuple(f"AIRFLOW_CTX_{k}={v}" for k, v in values.items())
