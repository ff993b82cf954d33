"""What is refused for good leaves one sample, and no more."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest

from receiver.export import rejected
from receiver.export.pipeline import Pipeline
from receiver.export.rejected import FILES, RejectedSamples, write_sample
from receiver.safe.directories import RefusedError
from tests.export.fake import GrpcFake, HttpFake, partial, until
from tests.export.pipelines import envelope, fill, finish, grpc_pipeline, http_pipeline, records

SAMPLE = b'{"schema": "kwitness.rejected/1", "reason": "x"}\n'

ECHO = (
    b"bad item; request had Authorization: Bearer hunter2hunter2 and --password=hunter2\n\x1b[31m"
)


def samples_in(state: Path) -> RejectedSamples:
    state.mkdir(exist_ok=True)
    samples, fd = RejectedSamples(), os.open(state, os.O_RDONLY | os.O_DIRECTORY)
    samples.keep_in(fd)
    os.close(fd)
    return samples


def write(state: Path, name: str, content: bytes) -> None:
    fd = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
    try:
        write_sample(fd, name, content)
    finally:
        os.close(fd)


async def refuse(pipeline: Pipeline, state: Path, count: int) -> None:
    pipeline.samples = samples_in(state)
    fill(pipeline, records(count))
    task = asyncio.create_task(pipeline.run())
    await until(lambda: pipeline.failed.total() + pipeline.rejected + pipeline.exported == count)
    await finish(pipeline, task)
    pipeline.samples.close()


def only(folder: Path) -> dict[str, Any]:
    (found,) = folder.iterdir()
    assert stat.S_IMODE(found.stat().st_mode) == 0o600
    content: dict[str, Any] = json.loads(found.read_text())
    return content


async def test_a_400_keeps_one_redacted_sample_for_each_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fake = HttpFake()
    fake.script += [(400, {}, ECHO)] * 5
    await fake.start()
    folder = tmp_path / "rejected"
    await refuse(
        http_pipeline(fake.port, headers=(("Authorization", "Bearer hunter2"),)), tmp_path, 50
    )
    await fake.stop()
    sample = only(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (sample["schema"], sample["signal"], sample["reason"]) == (
        "kwitness.rejected/1",
        "logs",
        "http_400",
    )
    assert sample["items"] == 10
    assert sample["request"]["resourceLogs"][0]["scopeLogs"][0]["logRecords"]
    text = json.dumps(sample)
    assert "hunter2" not in text
    assert "\\u001b" not in text
    assert "hunter2" not in caplog.text
    assert "http_400" in caplog.text


async def test_grpc_and_partial_success_keep_theirs(tmp_path: Path) -> None:
    for answer in ((grpc.StatusCode.INVALID_ARGUMENT, "no", b""), partial(3, "too old")):
        fake = GrpcFake()
        fake.script.append(answer)
        await fake.start()
        await refuse(grpc_pipeline(fake.port), tmp_path, 10)
        await fake.stop()
    assert {p.name for p in (tmp_path / "rejected").iterdir()} == {
        "logs-invalid_argument.json",
        "logs-partial_success.json",
    }


async def test_a_folder_that_cannot_be_written_costs_the_sample_only(tmp_path: Path) -> None:
    for name in ("file", "link", "open"):
        (tmp_path / name).mkdir()
    (tmp_path / "file/rejected").write_text("x")
    (tmp_path / "real").mkdir()
    (tmp_path / "link/rejected").symlink_to("../real")
    (tmp_path / "open/rejected").mkdir()
    (tmp_path / "open/rejected").chmod(0o777)
    for name in ("file", "link", "open"):
        fake = HttpFake()
        fake.script.append((400, {}, b"no"))
        await fake.start()
        pipeline = http_pipeline(fake.port)
        await refuse(pipeline, tmp_path / name, 10)
        await fake.stop()
        assert pipeline.samples is not None
        assert (pipeline.failed, pipeline.samples.missed) == ({"http_400": 10}, 1), name
    assert (tmp_path / "file/rejected").read_text() == "x"
    assert not list((tmp_path / "real").iterdir())
    assert not list((tmp_path / "open/rejected").iterdir())


def test_the_number_and_the_bytes_of_samples_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "rejected"
    for number in range(3 * FILES):
        write(tmp_path, f"logs-http_{number}.json", SAMPLE)
    (folder / "mine.txt").write_text("not a sample")
    write(tmp_path, "logs-last.json", SAMPLE)
    names = {p.name for p in folder.iterdir()}
    assert len(names) == FILES + 1
    assert {"mine.txt", "logs-last.json"} <= names
    samples = samples_in(tmp_path / "more")
    request = _request(1)
    for number in range(3 * FILES):
        samples.keep("logs", f"http_{number}", "no", request, 1)
        if samples._writer is not None:
            samples._writer.join()
    samples.close()
    assert len(list((tmp_path / "more/rejected").iterdir())) == FILES
    monkeypatch.setattr(rejected, "FILE_BYTES", 500)
    samples = samples_in(tmp_path / "large")
    samples.keep("logs", "http_400", "no", request, 1)
    samples.close()
    assert only(tmp_path / "large/rejected")["request"] is None


def _request(count: int) -> bytes:
    from receiver.export.encode import log_record

    return envelope().request((r.resource, log_record(r)) for r in records(count))


@pytest.mark.parametrize("kind", ["link", "fifo", "directory", "text", "empty", "two names"])
def test_what_is_no_sample_is_never_replaced(tmp_path: Path, kind: str) -> None:
    name, folder = "logs-http_400.json", tmp_path / "rejected"
    folder.mkdir(mode=0o700)
    (tmp_path / "target").write_bytes(SAMPLE)
    match kind:
        case "link":
            (folder / name).symlink_to("../target")
        case "fifo":
            os.mkfifo(folder / name)
        case "directory":
            (folder / name).mkdir()
        case "two names":
            (folder / name).hardlink_to(tmp_path / "target")
        case _:
            (folder / name).write_text("notes" if kind == "text" else "")
    before = (folder / name).lstat()
    with pytest.raises(RefusedError):
        write(tmp_path, name, SAMPLE + b" ")
    assert (folder / name).lstat() == before
    assert (tmp_path / "target").read_bytes() == SAMPLE


def test_room_is_made_among_samples_only(tmp_path: Path) -> None:
    """Names that look like ours are not enough. What a killed service left half written goes."""
    folder = tmp_path / "rejected"
    folder.mkdir(mode=0o700)
    for number in range(2 * FILES):
        (folder / f"logs-note{number}.json").write_text("notes")
    os.mkfifo(folder / "logs-fifo.json")
    (folder / ".logs-http_400.json.0123abcd.tmp").write_text("half")
    before = {p.name for p in folder.iterdir() if not p.name.startswith(".")}
    write(tmp_path, "logs-http_400.json", SAMPLE)
    assert {p.name for p in folder.iterdir()} == before | {"logs-http_400.json"}


def test_a_disk_that_hangs_delays_nobody(tmp_path: Path) -> None:
    """The folder's writer blocks; refusals go on, and the wait at the end has an end."""
    samples = samples_in(tmp_path)
    blocked = threading.Event()
    samples._write = lambda **_: blocked.wait()  # type: ignore[method-assign, assignment]
    for number in range(50):
        samples.keep("logs", f"http_{number}", "no", b"", 1)
    assert samples.missed == 49
    blocked.set()
    samples.close()


def test_an_answer_is_redacted_before_it_is_cut() -> None:
    """What is left of a secret at the cut must not be what no rule recognises."""
    secret = "wJalr9XUtnFEMI7K7MDENGbPx2RfiCYzEXAMP8KEYq"
    answer = f"{'x' * 280} {secret} rejected"
    assert secret[:12] not in rejected._plain(answer)
