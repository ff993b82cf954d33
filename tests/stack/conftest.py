"""The stack of docker-compose.yml, unchanged, on an engine of our own;
up once for all tests here."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.conftest import missing
from tests.stack.images import CACHE, DOCKER, ROOT, docker, has_loki, make_all, need

T = TypeVar("T")
PROJECT = "kwitness-test"
SERVICES = (
    "kwitness",
    "otel-collector",
    "jaeger",
    "victorialogs",
    "prometheus",
    "demo",
)  # no image of Grafana can be made here
STARTED = 240.0


def eventually(ask: Callable[[], T | None], seconds: float = 90, what: str = "") -> T:
    """Its first answer that is something; errors of a server that is not there yet are none."""
    deadline, last = time.monotonic() + seconds, "nothing"
    while time.monotonic() < deadline:
        try:
            if found := ask():
                return found
            last = "nothing"
        except (OSError, ValueError, KeyError) as error:
            last = str(error)
        time.sleep(1)
    raise AssertionError(f"{what or 'it'} did not come within {seconds:.0f} s: {last}")


class Stack:
    """Queries of the servers, and what an operator does to them."""

    def __init__(self) -> None:
        self.has_loki = has_loki()
        self.services = (*SERVICES, "loki") if self.has_loki else SERVICES
        known = (
            subprocess.run(
                [
                    DOCKER,
                    "create",
                    "--cap-add",
                    "BPF",
                    "--name",
                    f"{PROJECT}-asks",
                    "kwitness:0.1.0",
                ],
                capture_output=True,
                check=False,
            ).returncode
            == 0
        )
        docker("rm", "-f", f"{PROJECT}-asks", check=False)
        self.powers = (
            {}
            if known
            else {"KWITNESS_CAP_BPF": "SYS_ADMIN", "KWITNESS_CAP_PERFMON": "CAP_SYS_ADMIN"}
        )

    def compose(self, *arguments: str, check: bool = True) -> str:
        loki = ", otlp_http/loki" if self.has_loki else ""
        env = {
            **os.environ,
            **self.powers,
            "COMPOSE_PROFILES": "demo,victorialogs",
            "OTELCOL_LOGS": f"[otlp_http/victorialogs{loki}]",
            "DEMO_PAUSE": "3",
            "COMPOSE_PROJECT_NAME": PROJECT,
            "PATH": f"/usr/bin:{os.environ['PATH']}",
        }
        done = subprocess.run(
            ["/usr/bin/docker-compose", *arguments],
            cwd=ROOT,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"docker-compose {' '.join(arguments)}: {done.stderr[-3000:]}")
        return done.stdout

    def text(self, url: str, token: str = "", /, **query: str) -> str:
        full = f"{url}?{urllib.parse.urlencode(query)}" if query else url
        request = urllib.request.Request(
            full, headers={"Authorization": f"Bearer {token}"} if token else {}
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                raise OSError(
                    f"{error.code}: {error.read(600).decode('utf-8', 'replace')}"
                ) from None

    def get(self, url: str, token: str = "", /, **query: str) -> Any:
        text = self.text(url, token, **query)
        return json.loads(text) if text[:1] in "[{" else text

    def traces(self, service: str, limit: int = 200) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(
            "http://127.0.0.1:16686/api/traces", service=service, limit=str(limit), lookback="3h"
        )["data"]
        return found

    def logs(self, query: str, limit: int = 5000) -> list[dict[str, Any]]:
        """Lines with their labels and structured metadata."""
        found = self.get(
            "http://127.0.0.1:3100/loki/api/v1/query_range",
            query=query,
            limit=str(limit),
            since="3h",
        )["data"]["result"]
        return [s["stream"] | {"line": line} for s in found for _, line in s["values"]]

    def ask_loki(self, query: str) -> Any:
        """The result of a metric query of Loki, now."""
        return self.get("http://127.0.0.1:3100/loki/api/v1/query", query=query)["data"]["result"]

    def records(self, query: str) -> list[dict[str, Any]]:
        """Log records in VictoriaLogs that match a LogsQL query, as flat JSON objects."""
        lines = self.text(
            "http://127.0.0.1:9428/select/logsql/query", query=query, limit="5000"
        ).splitlines()
        return [json.loads(line) for line in lines]

    def metric(self, query: str) -> dict[tuple[str, ...], float]:
        found = self.get("http://127.0.0.1:9090/api/v1/query", query=query)["data"]["result"]
        return {tuple(sorted(f["metric"].values())): float(f["value"][1]) for f in found}

    def total(self, query: str) -> float:
        return sum(self.metric(query).values())

    def token(self) -> str:
        return self.compose(
            "exec", "-T", "-u", "kwitness", "kwitness", "cat", "/var/lib/kwitness/admin.token"
        ).strip()

    def own(self, name: str, *labels: str) -> float:
        """A counter of kwitness itself, by its own endpoint."""
        lines = str(self.get("http://127.0.0.1:9464/metrics", self.token())).splitlines()
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith(name) and all(label in line for label in labels)
        )


@contextlib.contextmanager
def engine() -> Iterator[None]:
    """The one that runs, or one of our own for as long as it is needed."""
    need()
    if subprocess.run([DOCKER, "info"], capture_output=True, check=False).returncode == 0:
        yield
        return
    CACHE.mkdir(parents=True, exist_ok=True)
    log = CACHE / "dockerd.log"
    with log.open("wb") as out:
        daemon = subprocess.Popen(
            ["/usr/sbin/dockerd", "--data-root", str(CACHE / "docker")],
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        for _ in range(60):
            if subprocess.run([DOCKER, "info"], capture_output=True, check=False).returncode == 0:
                break
            if daemon.poll() is not None:
                raise RuntimeError(f"dockerd did not start: {log.read_text()[-1500:]}")
            time.sleep(1)
        yield
    finally:
        daemon.terminate()
        daemon.wait(60)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with engine():
        make_all()
        found = Stack()
        found.compose("down", "-v", "--remove-orphans", check=False)
        try:
            # --no-deps: the Collector waits for Loki, which may not be here;
            # its queue waits for every server that is
            found.compose("up", "-d", "--no-build", "--no-deps", *found.services)
            eventually(
                lambda: found.get("http://127.0.0.1:9464/readyz") == "ready\n", STARTED, "kwitness"
            )
            yield found
        except BaseException:
            print(
                found.compose("ps", check=False),
                found.compose("logs", "--tail", "20", check=False)[-6000:],
            )
            raise
        finally:
            if not os.environ.get("KWITNESS_KEEP_STACK"):
                found.compose("down", "-v", "--remove-orphans", check=False)


@pytest.fixture
def loki(stack: Stack) -> Stack:
    """The stack, where it has a Loki."""
    if not stack.has_loki:
        missing(
            "loki",
            (
                "no Loki is here: set KWITNESS_LOKI to its binary, or give the engine the image "
                "grafana/loki:3.7.8"
            ),
        )
    return stack


__all__ = ["Path", "Stack", "docker", "eventually"]
