"""Both modes of the service with an interpreter and packages that only root can read:
all is imported before privileges go."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from receiver import semconv as sc
from tests.conftest import missing
from tests.e2e.collector import free_port
from tests.export.fake import LOGS
from tests.insights.requests import record, request

pytestmark = pytest.mark.live
ROOT = Path(__file__).parent.parent.parent
PORT, OTLP_GRPC, OTLP_HTTP = (free_port() for _ in range(3))
HOOK = """
import os, sys
def look(event, arguments):
    if event == "import" and os.geteuid() != 0:
        os.write(2, f"LATE IMPORT {arguments[0]}\\n".encode())
sys.addaudithook(look)
"""


@pytest.fixture
def private() -> Iterator[Path]:
    """A directory of mode 0700 by whose path alone Python finds all that it loads."""
    if os.geteuid() != 0:
        missing("live", "only root can become another user")
    place = Path(tempfile.mkdtemp(prefix="kwitness-private-", dir="/var/tmp"))
    (place / "home").mkdir()
    (place / "home/lib").symlink_to(Path(sys.base_prefix) / "lib")
    (place / "packages").symlink_to(next(p for p in sys.path if p.endswith("site-packages")))
    (place / "code").symlink_to(ROOT)
    (place / "hook").mkdir()
    (place / "hook/sitecustomize.py").write_text(HOOK)
    yield place
    shutil.rmtree(place)


@pytest.fixture
def state() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="kwitness-state-", dir="/var/tmp"))
    os.chown(place, 65534, 65534)
    yield place
    shutil.rmtree(place)


@contextlib.contextmanager
def service(
    private: Path, state: Path, *arguments: str, **env: str
) -> Iterator[subprocess.Popen[str]]:
    """Runs until the block is left; then it must end well, and nothing may have been imported
    without privileges."""
    config = state.parent / f"{state.name}.toml"
    config.write_text(
        f'shutdown_seconds = 1\n[admin]\nport = {PORT}\n[state]\ndirectory = "{state}"\n'
        f'[insights]\ngrpc = "127.0.0.1:{OTLP_GRPC}"\nhttp = "127.0.0.1:{OTLP_HTTP}"\n'
    )
    python = Path(sys.executable).resolve()
    own = {
        "PATH": os.environ["PATH"],
        "PYTHONHOME": str(private / "home"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": f"{private}/hook:{private}/code:{private}/packages",
    }
    log = log_of(state)
    with log.open("w") as errors:
        child = subprocess.Popen(
            [python, "-m", "receiver", "serve", *arguments, "-c", str(config)],
            env=own | env,
            cwd="/",
            stderr=errors,
            text=True,
        )
    try:
        until(lambda: get("/readyz") is not None, child, log)
        status = Path(f"/proc/{child.pid}/status").read_text()
        assert "Uid:\t65534\t65534" in status
        assert (
            subprocess.run(
                ["setpriv", "--reuid=65534", "ls", str(private)], capture_output=True, check=False
            ).returncode
            != 0
        )
        yield child
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=30) == 0, log.read_text()[-2000:]
        said = log.read_text()
        assert "LATE IMPORT" not in said and "Error" not in said, said[-2000:]
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        config.unlink()
        log.unlink()


def log_of(state: Path) -> Path:
    return state.parent / f"{state.name}.log"


def until(what: Any, child: subprocess.Popen[str], log: Path) -> None:
    end = time.monotonic() + 60
    while not what():
        assert time.monotonic() < end and child.poll() is None, log.read_text()[-3000:]
        time.sleep(0.1)


def get(path: str, state: Path | None = None, body: bytes | None = None) -> str | None:
    asked = urllib.request.Request(
        f"http://localhost:{PORT}{path}", body, {"Content-Type": "application/json"}
    )
    if state is not None:
        asked.add_header("Authorization", f"Bearer {(state / 'admin.token').read_text().strip()}")
    try:
        with urllib.request.urlopen(asked, timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return str(error.code)
    except OSError:
        return None


def ask_everything(state: Path) -> None:
    for path in (
        "/livez",
        "/metrics",
        "/tree",
        "/incidents",
        "/incidents/none",
        "/incidents/none?form=x",
        "/none",
    ):
        get(path, state)
        get(path)
    get("/alerts", state, b'{"task": "x", "from": "2026-01-01T00:00:00+01:00"}')
    get("/alerts", state, b"{")
    get("/incidents/none/note", state, b'{"note": "x"}')
    with socket.create_connection(("127.0.0.1", PORT)) as peer:
        peer.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
        peer.recv(100)


async def by_grpc(body: bytes) -> None:
    async with grpc.aio.insecure_channel(
        f"localhost:{OTLP_GRPC}", compression=grpc.Compression.Gzip
    ) as channel:
        call: Any = channel.unary_unary(LOGS)
        assert await call(body) == b""
        with pytest.raises(grpc.aio.AioRpcError):
            await call(b"\xff\xff")


def by_http(body: bytes, encoding: str) -> None:
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": encoding}
    asked = urllib.request.Request(f"http://localhost:{OTLP_HTTP}/v1/logs", body, headers)
    try:
        urllib.request.urlopen(asked, timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()


def test_insights(private: Path, state: Path) -> None:
    end = record(sc.EVENT_PIPELINE_TASK_END, **{sc.LOG_RECORD_UID: "u3"})
    lost = record(
        sc.EVENT_NETWORK_CONNECTION_FAILED,
        **{sc.LOG_RECORD_UID: "u2", sc.NETWORK_PEER_ADDRESS: "10.0.0.1"},
    )
    both = request(record(sc.EVENT_PROCESS_OOM_KILLED))
    both.resource_logs.extend(
        request(end, lost, host__name="b", host__ip=["10.0.0.2"]).resource_logs
    )
    body = both.SerializeToString()
    export = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:9",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
    }
    with service(private, state, "--mode", "insights", **export) as child:
        for packed, encoding in (
            (gzip.compress(body), "gzip"),
            (zlib.compress(body), "deflate"),
            (b"x", "gzip"),
            (b"\xff", ""),
        ):
            by_http(packed, encoding)
        asyncio.run(by_grpc(body))
        until(lambda: list((state / "incidents").glob("[0-9a-f]*.json")), child, log_of(state))
        ask_everything(state)
        (report,) = (state / "incidents").glob("[0-9a-f]*.json")
        for form in ("json", "text", "page"):
            assert get(f"/incidents/{report.stem}?form={form}", state) not in (None, "404")


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_serve(live: None, private: Path, state: Path, protocol: str) -> None:
    export = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:9",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
    }
    with service(private, state, **export, OTEL_EXPORTER_OTLP_COMPRESSION="gzip") as child:
        until(lambda: get("/readyz") == "ready\n", child, log_of(state))
        ask_everything(state)
