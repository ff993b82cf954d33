"""The command line on the real kernel: exit statuses, one-line errors, least privilege,
and what is printed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from receiver.investigate.report import Report, cited
from tests.waiting import executed

pytestmark = pytest.mark.live
ROOT = Path(__file__).parent.parent.parent
KWITNESS = [sys.executable, "-m", "receiver"]
NO_CAPS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
TWO_CAPS = ["setpriv", "--bounding-set=-all,+bpf,+perfmon", "--inh-caps=-all"]
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith("OTEL_")}


def run(
    *arguments: str, before: tuple[str, ...] | list[str] = (), **env: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*before, *KWITNESS, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=CLEAN | env,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["sh", "-c", "kill -9 $$"], -9),  # by the same signal; a shell calls it 137
        (["/nonexistent"], 127),
        (["/etc/passwd"], 126),
    ],
)
def test_run_gives_the_commands_own_status(live: None, command: list[str], status: int) -> None:
    assert run("run", "--quiet", "--", *command).returncode == status


def test_run_leaves_the_commands_output_alone(live: None) -> None:
    done = run("run", "--", "sh", "-c", "echo out; echo err >&2")
    assert done.stdout == "out\n"
    assert done.stderr.startswith("err\n")
    assert "sh -c echo out" in done.stderr
    assert "\x1b[" not in done.stderr


def test_run_as_json_and_as_report(live: None, tmp_path: Path) -> None:
    report, kept = tmp_path / "report.json", tmp_path / "facts.json"
    done = run(
        "run",
        "--json",
        "--name",
        "n",
        "--report",
        str(report),
        "--facts",
        str(kept),
        "--",
        "sh",
        "-c",
        "sh -c 'sleep 0.05; kill -9 $$'; exit 0",
    )
    facts = json.loads(done.stdout)
    assert facts == json.loads(kept.read_text())
    why = msgspec.json.decode(report.read_bytes(), type=Report)
    assert (why.verdict, why.hypotheses[0].cause) == ("incident", "proc.exit_masked")
    assert cited(why) <= set(why.events)
    assert (facts["execution"]["outcome"], facts["execution"]["reported_outcome"]) == (
        "failure",
        "success",
    )
    killed = next(f for f in facts["findings"] if f["kind"] == "process.killed")
    assert killed["facts"]["process.signal.name"] == "SIGKILL"
    assert killed["evidence"]
    assert {p["command"] for p in facts["processes"]} >= {
        "sh -c sh -c 'sleep 0.05; kill -9 $$'; exit 0",
        "sleep 0.05",
    }
    assert facts["completeness"]["lost"] == []


def test_secrets_and_terminal_codes_of_command_lines_are_not_printed(live: None) -> None:
    done = run(
        "run", "--", "sh", "-c", "sleep 0.06; exit 3", "--password=hunter2", "\x1b]0;title\x07"
    )
    assert "hunter2" not in done.stderr
    assert "\x1b" not in done.stderr
    assert "\x07" not in done.stderr


def test_a_sigterm_to_the_observer_reaches_the_command(live: None) -> None:
    code = (
        "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(9)); "
        "print('ready', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen(
        [*KWITNESS, "run", "--json", "--", sys.executable, "-I", "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert child.stdout
    assert child.stdout.readline() == "ready\n"
    child.terminate()
    out, _ = child.communicate(timeout=30)
    assert child.returncode == 9
    assert json.loads(out)["processes"][-1]["end"] == "exit 9"


def test_check_says_ready(live: None) -> None:
    done = run("check")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "ready")
    assert json.loads(run("check", "--json").stdout)["status"] == "ready"


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv (util-linux)")
def test_without_capabilities_it_says_which(live: None) -> None:
    done = run("check", before=NO_CAPS)
    assert done.returncode == 2
    assert "CAP_BPF and CAP_PERFMON missing" in done.stdout
    done = run("run", "--require", "--", "true", before=NO_CAPS)
    assert done.returncode == 77
    assert len(done.stderr.splitlines()) == 1
    assert "run as root, or grant" in done.stderr


@pytest.mark.skipif(not shutil.which("setpriv"), reason="needs setpriv (util-linux)")
def test_two_capabilities_are_enough(live: None) -> None:
    done = run("run", "--json", "--", "sh", "-c", "exit 4", before=TWO_CAPS)
    assert done.returncode == 4, done.stderr
    assert json.loads(done.stdout)["processes"][0]["end"] == "exit 4"


@pytest.mark.parametrize(
    ("namespace", "source", "message"),
    [
        (
            "unshare -m sh -c 'mount -t tmpfs none /sys/kernel/btf && exec \"$@\"' sh",
            "ebpf",
            "this kernel has no BTF",
        ),
        (
            "unshare -T --boottime 86400 --fork",
            "auto",
            "this time namespace has a shifted boot clock",
        ),
    ],
)
def test_where_it_cannot_work_it_says_so_in_one_line(
    live: None, namespace: str, source: str, message: str
) -> None:
    done = subprocess.run(
        [
            "sh",
            "-c",
            f'exec {namespace} "$@"',
            "sh",
            *KWITNESS,
            "run",
            "--require",
            "--source",
            source,
            "--",
            "true",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, len(done.stderr.splitlines())) == (69, 1), done.stderr
    assert message in done.stderr


def test_usage_errors() -> None:
    assert run("run").returncode == 64
    assert "no command given" in run("run", "--").stderr
    assert run("replay", "/nonexistent").returncode == 65
    assert run().returncode == 64
    assert run("--version").stdout.startswith("kwitness 0.")


def test_a_bad_otel_variable_costs_the_export_and_not_the_command(
    live: None, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    done = run("run", "--require", "--", "touch", str(ran), OTEL_EXPORTER_OTLP_ENDPOINT="ftp://x")
    assert (done.returncode, ran.exists()) == (78, False)
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in done.stderr
    done = run("run", "--quiet", "--", "touch", str(ran), OTEL_EXPORTER_OTLP_ENDPOINT="ftp://x")
    assert (done.returncode, ran.exists(), len(done.stderr.splitlines())) == (0, True, 1)
    assert done.stderr.startswith("kwitness: not exported: OTEL_EXPORTER_OTLP_ENDPOINT")


def test_a_bad_configuration_is_refused_before_anything_runs(live: None, tmp_path: Path) -> None:
    """It is of the user's own command line, so it is no reason to go on without it."""
    bad = tmp_path / "kwitness.toml"
    bad.write_text("[[rule]]\nname = 1\n")
    done = run("run", "-c", str(bad), "--", "touch", str(tmp_path / "ran"))
    assert (done.returncode, (tmp_path / "ran").exists(), len(done.stderr.splitlines())) == (
        78,
        False,
        1,
    )


def test_events_are_followed_until_interrupted(live: None) -> None:
    follower = subprocess.Popen(
        [*KWITNESS, "events", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert follower.stdout
    assert follower.stderr
    assert "following" in follower.stderr.readline()
    child = subprocess.Popen(["/bin/sh", "-c", "exit 5"])
    child.wait()
    mine = []
    for line in follower.stdout:
        event = json.loads(line)
        if event.get("process", {}).get("tgid") == child.pid:
            mine.append(event["kind"])
            if event["kind"] == "Exit":
                break
    follower.send_signal(signal.SIGINT)
    follower.communicate(timeout=20)
    assert follower.returncode == 0
    assert [kind for kind in mine if kind != "OpenFile"] == ["Fork", "Exec", "Exit"]


def test_record_without_a_command_and_its_dump(live: None, tmp_path: Path) -> None:
    tape = tmp_path / "tape.kw"
    recorder = subprocess.Popen(
        [*KWITNESS, "record", "-o", str(tape)], stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert recorder.stderr
    assert "recording" in recorder.stderr.readline()
    child = subprocess.Popen(["/bin/sh", "-c", "sleep 0.01; exit 5", "--token=sesame"])
    child.wait()
    recorder.terminate()
    recorder.communicate(timeout=20)
    assert recorder.returncode == 0
    assert b"sesame" not in tape.read_bytes()
    assert tape.stat().st_mode & 0o777 == 0o600
    lines = [
        line
        for line in run("replay", "--dump", str(tape)).stdout.splitlines()
        if f" {child.pid} " in line
    ]
    assert [line.split()[1] for line in lines][-1] == "exit"
    assert any("--token=[redacted:value]" in line for line in lines)
    assert "(sh) exit 5" in lines[-1]


def test_console_exporter(live: None) -> None:
    done = run(
        "run",
        "--quiet",
        "--",
        "true",
        OTEL_LOGS_EXPORTER="console",
        OTEL_TRACES_EXPORTER="none",
        OTEL_METRICS_EXPORTER="none",
    )
    names = [
        r["eventName"]
        for line in done.stdout.splitlines()
        for x in json.loads(line)["resourceLogs"]
        for y in x["scopeLogs"]
        for r in y["logRecords"]
    ]
    assert names == [
        "pipeline.run.start",
        "pipeline.task.start",
        "pipeline.task.end",
        "pipeline.run.end",
    ]


def test_each_task_has_a_line_when_it_starts_and_rules_name_it(live: None, tmp_path: Path) -> None:
    rules = tmp_path / "kwitness.toml"
    rules.write_text(
        "[[rule]]\nname = 'my loader'\nenvironment = 'LOADER_JOB'\nsystem = 'loader'\n"
        "pipeline = 'landing'\n"
        "task = 'load {0}'\nrun = '{LOADER_JOB}'\n"
    )
    done = run(
        "run", "--live", "-c", str(rules), "--", "sh", "-c", "sleep 0.3; true", LOADER_JOB="77"
    )
    told = [
        re.sub(r"^kwitness +[\d.]+ s +", "", line)
        for line in done.stderr.splitlines()
        if line.startswith("kwitness  ") and " starts" in line
    ]
    assert told == ["command task sh starts", "loader task load 77 of landing starts (probable)"]
    assert "◆ loader task load 77 of landing" in done.stderr


def test_explain_says_which_rule_decided(live: None, tmp_path: Path) -> None:
    rules = tmp_path / "kwitness.toml"
    rules.write_text(
        "[[rule]]\nname = 'sleepers'\nexecutable = '*/sleep'\nsystem = 'naps'\n"
        "pipeline = 'afternoon'\n"
    )
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        executed(sleeper.pid)
        done = run("check", "--explain", str(sleeper.pid), "-c", str(rules))
    finally:
        sleeper.kill()
        sleeper.wait()
    assert done.returncode == 0, done.stderr
    assert "by argv: the rule 'sleepers'" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("is attributed to: job sleep of naps afternoon")
    assert run("check", "--explain", "4000000").returncode == 64


def test_explain_reads_recordings_without_privileges() -> None:
    done = run("check", "--explain", "tests/scenarios/frameworks/dbt.kw", before=NO_CAPS)
    assert done.returncode == 0 and "model users_export of dbt shop" in done.stdout


def test_a_recording_of_a_command_says_nothing_of_its_neighbours(
    live: None, tmp_path: Path
) -> None:
    """A process that lived before and one that starts beside it, with arguments,
    a title and a file of their own."""
    tape, report, secret_file = (
        tmp_path / "tape.kw",
        tmp_path / "report.json",
        tmp_path / "neighbours-file",
    )
    secret_file.touch()
    neighbour = subprocess.Popen(
        ["sh", "-c", f"while :; do cat {secret_file} neighbours-argument; sleep 0.02; done"],
        stderr=subprocess.DEVNULL,
    )
    try:
        done = run(
            "record",
            "-o",
            str(tape),
            "--report",
            str(report),
            "--",
            "sh",
            "-c",
            "PGPASSWORD='hunter2 x' sleep 0.3; exit 3",
            "own",
        )
    finally:
        neighbour.kill()
        neighbour.wait()
    assert done.returncode == 3
    raw = tape.read_bytes()
    assert b"neighbours-" not in raw and b"hunter2" not in raw and b"PGPASSWORD" in raw
    again = tmp_path / "again.json"
    assert run("replay", str(tape), "--report", str(again)).returncode == 0
    assert f"{tape} holds the command and its children" in done.stderr
    live_report, replayed_report = (
        msgspec.json.decode(path.read_bytes(), type=Report) for path in (report, again)
    )
    assert replayed_report == live_report


def test_no_secret_comes_out_anywhere(live: None, tmp_path: Path) -> None:
    """In arguments, names of files that are written, missing or renamed, a title, a comm and an
    identifier: facts, report, OTLP, timeline, summary, recording, its dump and its page."""
    script = """
import ctypes, os, subprocess, sys
folder, token = sys.argv[1], "ghp_" + "hunter2X" * 4
open(f"{folder}/token=hunter2file", "w").write("x")
open(f"{folder}/{token}", "w").write("x")
os.rename(f"{folder}/{token}", f"{folder}/password=hunter2new")
for name in ("api_key=hunter2gone", "a?sig=hunter2sig0"):
    try:
        open(f"{folder}/{name}")
    except OSError:
        pass
ctypes.CDLL(None).prctl(15, b"pwd=hunter2com", 0, 0, 0)
subprocess.run(["sh", "-c", "true; curl -su u:hunter2curl http://127.0.0.1:9/ || :"], check=False)
subprocess.run(["sh", "-c", "exit 3", "docker", "run", "--env=DB_PASSWORD=hunter2env"], check=False)
secrets = ["--password", "hunter2argv", '{"token": "hunter2json"}', "postgres://u:hunter2url@h/d"]
os.execv("/bin/sh", ["sh", "-c", "exit 4", *secrets])
"""
    files = {name: tmp_path / f"out.{name}" for name in ("tape", "report", "facts", "otlp")}
    config = tmp_path / "kwitness.toml"
    config.write_text("[core]\ninclude_argv = true\nexit_events = true\n")
    work = tmp_path / "work"
    work.mkdir()
    (work / "script.py").write_text(script)
    done = run(
        "record",
        "-o",
        str(files["tape"]),
        "--report",
        str(files["report"]),
        "--facts",
        str(files["facts"]),
        "--otlp-json",
        str(files["otlp"]),
        "--timeline",
        "-c",
        str(config),
        "--",
        "env",
        "OTEL_RESOURCE_ATTRIBUTES=team=x,db.password=hunter2attribute",
        sys.executable,
        str(work / "script.py"),
        str(work),
    )
    assert done.returncode == 4
    page = tmp_path / "page.html"
    outputs = {name: path.read_text("utf-8", "replace") for name, path in files.items()}
    outputs |= {
        "stdout": done.stdout,
        "stderr": done.stderr,
        "dump": run("replay", "--dump", str(files["tape"])).stdout,
    }
    outputs["replay"] = run("replay", str(files["tape"]), "--details", "--page", str(page)).stdout
    outputs["page"] = page.read_text()
    leaks = [
        (name, text[max(0, at - 60) : at + 40])
        for name, text in outputs.items()
        for at in [text.find("hunter2")]
        if at >= 0
    ]
    assert leaks == []
    for name in ("tape", "facts", "otlp", "dump", "stderr"):
        assert "[redacted" in outputs[name], name
