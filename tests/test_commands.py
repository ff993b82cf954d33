"""The commands that need no privileges, called as the command line calls them."""

from __future__ import annotations

import json
import re
import stat
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from receiver.cli.main import main

SCENARIOS = Path(__file__).parent / "scenarios"
DEMO = str(SCENARIOS / "demo.kw")
Out = pytest.CaptureFixture[str]


def test_without_a_command_the_help_is_printed(capsys: Out) -> None:
    assert main([]) == 64
    assert capsys.readouterr().out.startswith("usage: kwitness")


def test_the_version(capsys: Out) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"kwitness \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_a_replay_prints_the_tree_and_the_report(capsys: Out) -> None:
    assert main(["replay", DEMO]) == 0
    out, err = capsys.readouterr()
    assert "nightly_export: failure" in out and err == ""
    assert "cause" in out and "\x1b" not in out  # not a terminal: no colour


def test_a_replay_as_json_is_one_object_for_each_execution(capsys: Out) -> None:
    assert main(["replay", "--json", DEMO]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["execution"]["outcome"] for row in rows] == ["failure"]


def test_a_replay_as_a_dump_is_one_line_for_each_event(capsys: Out) -> None:
    assert main(["replay", "--dump", "--json", DEMO]) == 0
    kinds = [json.loads(line)["kind"] for line in capsys.readouterr().out.splitlines()]
    assert {"Fork", "Exec", "OomKill", "Exit"} <= set(kinds)
    assert main(["replay", "--dump", DEMO]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(kinds)


def test_a_replay_writes_what_it_is_asked_for(capsys: Out, tmp_path: Path) -> None:
    report, page, lines = (tmp_path / name for name in ("report.json", "page.html", "otlp.jsonl"))
    arguments = ["--report", str(report), "--page", str(page), "--otlp-json", str(lines)]
    assert main(["replay", *arguments, "--details", DEMO]) == 0
    assert "  signature " in capsys.readouterr().out
    assert [json.loads(line)["verdict"] for line in report.read_text().splitlines()] == ["incident"]
    assert page.read_text().startswith("<!doctype html>")
    sent = {next(iter(json.loads(line))) for line in lines.read_text().splitlines()}
    assert {"resourceSpans", "resourceLogs"} <= sent
    for file in (report, page, lines):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_replay_remembers_in_a_history(capsys: Out, tmp_path: Path) -> None:
    history = tmp_path / "history.db"
    seen = []
    for _ in range(2):
        assert main(["replay", "--json", "--history", str(history), DEMO]) == 0
        seen.append(capsys.readouterr().out)
    assert history.stat().st_size > 0 and all(seen)


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (None, 65, "No such file"),
        (b"", 65, "is not a kwitness recording"),
        (b"{}\n", 65, "is not a kwitness recording"),
    ],
)
def test_what_cannot_be_replayed_is_one_line(
    capsys: Out, tmp_path: Path, content: bytes | None, status: int, words: str
) -> None:
    file = tmp_path / "it.kw"
    if content is not None:
        file.write_bytes(content)
    found = main(["replay", str(file)])
    out, err = capsys.readouterr()
    assert (found, out) == (status, "") and words in err
    assert err.count("\n") == 1 and err.startswith("kwitness: ")


def test_a_recording_that_was_cut_short_is_replayed_as_far_as_it_goes(
    capsys: Out, tmp_path: Path
) -> None:
    file = tmp_path / "cut.kw"
    file.write_bytes(Path(DEMO).read_bytes()[:-200])
    assert main(["replay", str(file)]) == 0
    out, err = capsys.readouterr()
    assert "nightly_export" in out and "the recording is incomplete" in err


def test_explain_names_the_rule_of_each_task_in_a_recording(capsys: Out) -> None:
    assert main(["check", "--explain", str(SCENARIOS / "lineage.kw")]) == 0
    assert "airflow: task extract of airflow etl" in capsys.readouterr().out
    assert main(["check", "--explain", DEMO]) == 0
    assert capsys.readouterr().out == "no process in this recording belongs to a task\n"


class Service(BaseHTTPRequestHandler):
    """Stands in for the admin endpoint of a running service."""

    asked: ClassVar[list[tuple[str, str, bytes]]] = []
    answer: ClassVar[tuple[int, str]] = (200, "")

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.asked.append((self.path, self.headers["Authorization"], body))
        status, text = self.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = _answer  # noqa: N815 (the names are the base class's)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def service(tmp_path: Path) -> Iterator[list[str]]:
    """The options with which the command finds it."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    config, token = tmp_path / "kwitness.toml", tmp_path / "token"
    config.write_text(f"[admin]\nport = {server.server_address[1]}\n")
    token.write_text("t0ken" * 8)
    token.chmod(0o600)
    Service.asked.clear()
    yield ["-c", str(config), "--token-file", str(token)]
    server.shutdown()
    thread.join()
    server.server_close()


ROW = {
    "id": "a1",
    "ended": "",
    "cause": "mem.cgroup_oom",
    "verdict": "incident",
    "task": "etl/load",
    "summary": "killed\x1b[2J",
}


def test_incidents_are_listed_without_control_characters(service: list[str], capsys: Out) -> None:
    Service.answer = (200, json.dumps({"incidents": [ROW]}))
    assert main(["incidents", *service]) == 0
    out = capsys.readouterr().out
    assert out.startswith("a1  running") and "mem.cgroup_oom" in out and "\x1b" not in out
    Service.answer = (200, json.dumps({"incidents": []}))
    assert main(["incidents", "list", *service]) == 0
    assert capsys.readouterr().out == "no incidents\n"
    assert {(path, token) for path, token, _ in Service.asked} == {
        ("/incidents", "Bearer " + "t0ken" * 8)
    }


def test_one_incident_is_shown_and_gets_a_note(
    service: list[str], capsys: Out, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    assert main(["replay", "--json", "--report", str(report), DEMO]) == 0
    capsys.readouterr()
    Service.answer = (200, report.read_text().strip())
    assert main(["incidents", "show", "a1", *service]) == 0
    assert "  signature " in capsys.readouterr().out
    assert main(["incidents", "show", "a1", "--json", *service]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "incident"
    Service.answer = (200, "noted\n")
    assert main(["incidents", "note", "a1", "more memory", *service]) == 0
    assert capsys.readouterr().out == "noted\n"
    assert [(path, body) for path, _, body in Service.asked] == [
        *[("/incidents/a1?form=json", b"")] * 2,
        ("/incidents/a1/note", b'{"note": "more memory"}'),
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show"], "incidents show ID"),
        (["note"], "incidents note ID"),
        (["note", "a1"], "what fixed it"),
    ],
)
def test_incidents_that_are_not_named_are_a_wrong_command_line(
    service: list[str], capsys: Out, arguments: list[str], words: str
) -> None:
    assert main(["incidents", *arguments, *service]) == 64
    assert words in capsys.readouterr().err and not Service.asked


def test_what_the_service_refuses_is_its_own_line(service: list[str], capsys: Out) -> None:
    Service.answer = (404, "there is no incident\x1b a1")
    assert main(["incidents", "show", "a1", *service]) == 65
    err = capsys.readouterr().err
    assert "the service answered: there is no incident" in err and "\x1b" not in err


def test_no_service_and_no_token_are_told_apart(
    service: list[str], capsys: Out, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert main(["incidents", *service[:2]]) == 64
    assert "no access token" in capsys.readouterr().err
    closed = tmp_path / "closed.toml"
    closed.write_text("[admin]\nport = 1\n")
    assert main(["incidents", "-c", str(closed), *service[2:]]) == 69
    assert "no service answers at http://127.0.0.1:1" in capsys.readouterr().err
