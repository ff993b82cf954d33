"""An exporter in one file: a transport, and a row in EXPORTERS."""

from __future__ import annotations

import pytest

from receiver.cli.common import hub_for
from receiver.errors import ConfigError
from receiver.export.exporters import EXPORTERS, Connected, Exporter, chosen
from receiver.export.hub import Hub
from receiver.export.options import ExportSettings, SignalName
from receiver.export.outcome import Accepted, Outcome, Permanent
from receiver.export.settings import from_environment
from tests.builders import Story
from tests.export.fake import uids

CHOSEN = {
    "OTEL_LOGS_EXPORTER": "pigeon",
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "none",
}
KIND, ACCEPTED = "pigeon_exporter", Accepted()


class Pigeon:
    def __init__(self, answer: Outcome) -> None:
        self.carried: list[bytes] = []
        self.closed = False
        self._answer = answer

    async def send(self, body: bytes) -> Outcome:
        self.carried.append(body)
        return self._answer

    async def close(self) -> None:
        self.closed = True


def add(
    patch: pytest.MonkeyPatch,
    answer: Outcome = ACCEPTED,
    *,
    remote: bool = False,
) -> Pigeon:
    transport = Pigeon(answer)

    def connect(_signal: SignalName, _settings: ExportSettings, _user_agent: str) -> Connected:
        return Connected(transport, KIND, "the loft")

    patch.setitem(EXPORTERS, "pigeon", Exporter(connect=connect, remote=remote, prints=True))
    return transport


async def send_one(hub: Hub) -> list[str]:
    """Exports the records of one killed process. Returns their uids."""
    story = Story()
    process = story.command("bash", "job.sh")
    story.exit(process, 3)
    story.finish()
    hub.start()
    hub.put(story.logs)
    await hub.shutdown(5)
    return sorted(str(dict(r.attributes)["log.record.uid"]) for r in story.logs)


async def test_a_variable_names_it_and_it_gets_the_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pigeon = add(monkeypatch)
    hub = Hub(from_environment(CHOSEN), "0")
    sent = await send_one(hub)
    assert sent and sorted(uid for body in pigeon.carried for uid in uids(body)) == sent
    assert (hub.pipelines[0].kind, hub.pipelines[0].exported) == (KIND, len(sent))
    assert hub.targets == {"the loft"} and pigeon.closed


@pytest.mark.parametrize("remote", [False, True])
async def test_samples_of_refused_records_are_kept_for_a_server_only(
    monkeypatch: pytest.MonkeyPatch, remote: bool
) -> None:
    add(monkeypatch, Permanent("hawk", "a hawk took it"), remote=remote)
    hub = Hub(from_environment(CHOSEN), "0")
    sent = await send_one(hub)
    assert hub.losses() == {("logs", "hawk"): len(sent)}
    assert (hub.pipelines[0].samples is not None) is remote


@pytest.mark.parametrize("remote", [False, True])
async def test_a_command_uses_it_without_an_endpoint_unless_it_needs_one(
    monkeypatch: pytest.MonkeyPatch, remote: bool
) -> None:
    add(monkeypatch, remote=remote)
    settings = from_environment(CHOSEN)
    assert (hub_for(settings, None, remote=False) is None) is remote
    assert [exporter.prints for exporter in chosen(settings)] == [True]


def test_an_unknown_name_is_refused_with_the_names_of_the_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add(monkeypatch)
    with pytest.raises(ConfigError, match="must be one of otlp, console, pigeon, none"):
        from_environment({"OTEL_LOGS_EXPORTER": "jackdaw"})
