"""Two namespaces as hosts, with an agent in each, and jobs that run there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.e2e.collector import ROOT
from tests.waiting import eventually

NET = "10.78.0"
# Addresses in the host's own namespace: of each test process its own, because several
# suites may run.
OWN = os.getpid() % 120
GATEWAY = f"10.77.0.{OWN + 1}"
OUTSIDE = {1: f"10.79.{2 * OWN}", 2: f"10.79.{2 * OWN + 1}"}
RULES = "".join(
    f'[[rule]]\nenvironment = "JOB_RUN"\nargv = "{task}"\nsystem = "lab"\npipeline = "training"\n'
    f'task = "{task}"\nrun = "{{JOB_RUN}}"\n'
    for task in ("features", "train")
)


class Hosts:
    """Two namespaces with a link between them, and one from each to us:
    nothing is forwarded, so no firewall has a say."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.tag = f"{os.getpid() % 10_000}"
        self.running: list[subprocess.Popen[bytes]] = []
        self.agents: dict[str, int] = {}

    def lay_out(self) -> None:
        for name in "ab":
            self.ip("netns", "add", self.space(name))
            self.ip("-n", self.space(name), "link", "set", "lo", "up")
        self.ip(
            "link",
            "add",
            "pair",
            "netns",
            self.space("a"),
            "type",
            "veth",
            "peer",
            "name",
            "pair",
            "netns",
            self.space("b"),
        )
        for number, name in enumerate("ab", 1):
            space, ours = self.space(name), f"kv{name}{self.tag}"
            self.ip("-n", space, "addr", "add", f"{NET}.{number}/24", "dev", "pair")
            self.ip("-n", space, "link", "set", "pair", "up")
            self.ip("link", "add", ours, "type", "veth", "peer", "name", "out", "netns", space)
            self.ip("addr", "add", f"{OUTSIDE[number]}.254/24", "dev", ours)
            self.ip("link", "set", ours, "up")
            self.ip("-n", space, "addr", "add", f"{OUTSIDE[number]}.1/24", "dev", "out")
            self.ip("-n", space, "link", "set", "out", "up")
            self.ip("-n", space, "route", "add", GATEWAY, "via", f"{OUTSIDE[number]}.254")
            if number == 1:
                self.ip("addr", "add", f"{GATEWAY}/32", "dev", ours)

    def space(self, name: str) -> str:
        return f"kwhost{name}{self.tag}"

    @staticmethod
    def ip(*words: str, check: bool = True) -> None:
        subprocess.run(["ip", *words], check=check, capture_output=True)

    def start(self, *command: str, **env: str) -> subprocess.Popen[bytes]:
        log = (self.place / f"{len(self.running)}.log").open("wb")
        with log:
            kept = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}
            child = subprocess.Popen(
                command, env=kept | env, stdout=log, stderr=log, start_new_session=True, cwd=ROOT
            )
        self.running.append(child)
        return child

    def agent(self, name: str, port: int) -> None:
        """kwitness serve as pid 1's child of a pid namespace, with a host name of its own."""
        config = self.place / f"{name}.toml"
        config.write_text(
            "[core]\ninclude_addresses = true\ntask_grace_seconds = 1.0\n[privileges]\n"
            f"drop = false\n{RULES}"
        )
        self.agents[name] = self._own_process(self._serve(name, config, port))
        eventually(lambda: self._is_ready(name, config), f"agent {name}", seconds=60)

    def _serve(self, name: str, config: Path, port: int) -> subprocess.Popen[bytes]:
        inside = f"hostname host-{name} && exec {sys.executable} -m receiver serve -c {config}"
        return self.start(
            "ip",
            "netns",
            "exec",
            self.space(name),
            "unshare",
            "--pid",
            "--fork",
            "--mount-proc",
            "--uts",
            "sh",
            "-c",
            inside,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{GATEWAY}:{port}",
            OTEL_EXPORTER_OTLP_PROTOCOL="grpc",
        )

    @staticmethod
    def _own_process(shell: subprocess.Popen[bytes]) -> int:
        """The agent itself, below the programs that made its namespaces."""

        def child() -> int | None:
            found = Path(f"/proc/{shell.pid}/task/{shell.pid}/children").read_text().split()
            return int(found[0]) if found else None

        own = eventually(child, "the agent's own process", ignoring=(OSError,))
        assert own is not None
        return own

    def _is_ready(self, name: str, config: Path) -> bool:
        command = [
            "ip",
            "netns",
            "exec",
            self.space(name),
            sys.executable,
            "-m",
            "receiver",
            "check",
            "--ready",
            "-c",
            str(config),
        ]
        done = subprocess.run(command, capture_output=True, cwd=ROOT, check=False)
        return done.returncode == 0

    def job(
        self, name: str, code: str, *arguments: str, group: Path | None = None, run: str = "r1"
    ) -> subprocess.Popen[bytes]:
        program = self.place / f"{arguments[0]}.py"
        program.write_text(code)
        join = f"echo $$ > {group}/cgroup.procs; " if group is not None else ""
        inside = (
            f"nsenter -t {self.agents[name]} -p -n -u -m {sys.executable} -S {program} "
            f"{' '.join(arguments)}"
        )
        return self.start("sh", "-c", f"{join}exec {inside}", JOB_RUN=run)

    def close(self) -> None:
        for child in reversed(self.running):
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGTERM)
                try:
                    child.wait(15)
                except subprocess.TimeoutExpired:
                    os.killpg(child.pid, signal.SIGKILL)
                    child.wait()
        for name in "ab":
            self.ip("netns", "del", self.space(name), check=False)
