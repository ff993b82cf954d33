"""No traceback for any command line, surroundings, variables and output."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.cli.main import main
from tests.guard.commands import ENTRY, GOLDEN, ROOT, one_line, run

USAGE = [
    ["--nonsense"],
    ["nonsense"],
    ["replay"],
    ["replay", "a", "b"],
    ["record"],
    ["serve", "--mode", "x"],
    ["check", "--explain"],
    ["incidents", "burn"],
    ["run", "--source", "x", "--", "true"],
    ["replay", "--report"],
    ["nonsense\x1b[2J\n"],
]


@pytest.mark.parametrize(
    "arguments", USAGE, ids=lambda a: " ".join(a).encode("unicode_escape").decode()
)
def test_a_wrong_command_line_is_one_line_and_64(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 64
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("kwitness: ")
    assert err[:-1].isprintable()


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["replay", "--help"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 0


ENVIRONMENTS = [
    {"TERM": "\x1b[2J"},
    {"LANG": "xx_YY.nonsense", "LC_ALL": "xx_YY.nonsense"},
    {"COLUMNS": "-1"},
    {"COLUMNS": "x"},
    {"COLUMNS": "99999999999999999999"},
    {"COLUMNS": "0", "LINES": "0"},
    {"OTEL_LOG_LEVEL": "loud"},
    {"NO_COLOR": "\n"},
    {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"TZ": "nonsense"},
]


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=str)
def test_odd_surroundings_change_nothing(environment: dict[str, str]) -> None:
    done = run("replay", GOLDEN, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "nightly_export: failure" in done.stdout


def test_no_home_no_working_directory_no_standard_streams(tmp_path: Path) -> None:
    file = tmp_path / "out.json"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for closed in ("0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"):
        gone = f"mkdir {tmp_path}/gone; cd {tmp_path}/gone; rmdir {tmp_path}/gone; unset HOME"
        script = (
            f"{gone}; exec {sys.executable} -c '{ENTRY}' replay --report {file} {GOLDEN} {closed}"
        )
        done = subprocess.run(
            ["sh", "-c", script], capture_output=True, text=True, check=False, env=environment
        )
        assert (done.returncode, done.stderr) == (0, ""), closed
        assert file.read_text().startswith("{")
        assert (
            "nightly_export: failure" not in file.read_text()
        )  # nothing that was printed has come into it


@pytest.mark.parametrize(
    "arguments",
    [["replay", GOLDEN], ["replay", "--json", GOLDEN], ["replay", "--dump", GOLDEN], ["--help"]],
)
def test_a_reader_that_leaves_is_no_failure(arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = run(*arguments, capture_output=False, stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


def test_output_that_nobody_can_take_is_one_line_and_74() -> None:
    with open("/dev/full", "w") as full:
        one_line(
            run(
                "replay",
                "--dump",
                GOLDEN,
                capture_output=False,
                stdout=full,
                stderr=subprocess.PIPE,
            ),
            74,
            "No space left",
        )
        done = run(
            "replay", "--nonsense", capture_output=False, stdout=subprocess.DEVNULL, stderr=full
        )
    assert done.returncode == 64


BAD_ENVIRONMENT = [
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a:b"},
    {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20hunter2%0A"},
    {"OTEL_EXPORTER_OTLP_PROTOCOL": "\x1b[2J"},
    {"OTEL_TRACES_EXPORTER": "x\ny"},
    {"OTEL_SERVICE_NAME": os.fsdecode(b"\xff")},
]


@pytest.mark.parametrize("environment", BAD_ENVIRONMENT, ids=ascii)
def test_variables_that_cannot_be_meant_are_one_line_and_78(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["replay", GOLDEN]) == 78
    err = capsys.readouterr().err
    assert err.startswith("kwitness: OTEL_")
    assert err[:-1].isprintable()
    assert "hunter2" not in err
