"""One command line: what is replaced, by which rule, and what stays."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.events import Exec, encode
from receiver.kernel.decode import scrub
from receiver.text.printable import joined
from receiver.text.redact import MAX_ARGUMENTS, Redactor
from receiver.text.redact.names import secrecy
from tests.redact.lines import _empty, planted

HARMLESS = [
    ("python3", "-m", "etl.load", "--date", "2024-01-15", "--partition-key-count", "7"),
    ("dbt", "run", "--select", "stg_users"),
    ("spark-submit", "--conf", "spark.executor.memory=2g", "job.py"),
    ("bash", "-c", "sort -k2 in.csv > out.csv"),
    ("ls", "-la", "/var/lib/tokenizer"),
    ("java", "-Xmx2g", "-jar", "app.jar"),
    ("grep", "-r", "pattern", "src"),
    ("airflow", "tasks", "run", "etl", "load", "2024-01-15"),
    ("cp", "keys.csv", "/data/monkey.csv"),
    ("make", "-j2", "all"),
    ("gcc", "-O2", "author.c"),
    ("rsync", "-a", "src/", "host:/dst"),
    ("tar", "-cpf", "x.tar", "dir"),
    ("mkdir", "-p", "/data/out"),
    ("git", "commit", "-m", "fix: authors list"),
    ("sort", "-k", "1,2", "keyboard.txt"),
    ("python3", "passenger_counts.py"),
    ("psql", "-h", "db", "-p", "5432"),
    ("ssh", "-p", "2222", "host"),
    ("docker", "run", "-p", "80:80", "nginx"),
    ("docker", "run", "-u", "1000:1000", "-p", "8080:80", "nginx"),
    ("psql", "-U", "etl", "-p", "5432"),
    ("cp", "-u", "src/a.csv", "-p", "out2024.csv"),
    ("tool", "-u", "x", "-p", "parts/42"),
    ("kubectl", "get", "secret", "db-creds-7d9f8b6c5d"),
    ("jq", ".token", "out2024.json"),
    ("git", "log", "-u", "-p", "v1..v2"),
    ("rsync", "-u", "-p", "a2024/", "b2024/"),
    ("echo", "password", "changed2024now"),
    ("python3", "x.py", "token", "classification"),
]


def test_harmless_lines_are_left_alone() -> None:
    changed = [argv for argv in HARMLESS if Redactor().argv(joined(argv)) != argv]
    assert changed == []


def test_redaction_is_idempotent() -> None:
    for argv, _ in planted():
        once = Redactor().argv(joined(argv))
        second = Redactor()
        assert second.argv(joined(once)) == once
        assert not second.counts


def test_the_marker_names_the_rule_and_is_counted() -> None:
    redactor = Redactor()
    assert redactor.argv(b"x\0--password\0hunter2\0") == ("x", "--password", "[redacted:flag]")
    assert redactor.counts == {"flag": 1}


def test_a_secret_cut_in_the_middle_is_taken_whole() -> None:
    assert Redactor().argv(b"x\0--password\0hunt") == ("x", "--password", "[redacted:flag]")
    assert (
        Redactor().argv(b"x\0postgresql://u:hunter2secret@")[1] == "postgresql://u:[redacted:url]@"
    )
    assert Redactor().argv(b"x\0postgresql://u:hunter2sec")[1] == "postgresql://u:[redacted:url]"
    assert Redactor().argv(b"x\0http://host:8080") == ("x", "http://host:8080")


@pytest.mark.parametrize(
    "token",
    [
        "ghp_abcdef",
        "AKIAIOSFO",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIi",
        "sk-abcd",
        "glpat-x1y2",
        "hf_abc1",
    ],
)
def test_a_token_without_its_end_is_taken_where_a_limit_may_have_cut_it(token: str) -> None:
    assert Redactor().argv(b"x\0" + token.encode())[1] == "[redacted:shape]"
    assert Redactor().line(b"x " + token.encode()) == "x [redacted:shape]"


def test_a_path_that_is_as_long_as_its_limit_may_lack_the_host_behind_a_password() -> None:
    long = b"/tmp/" + b"x" * 240 + b"/postgresql://u:hunter2s"
    assert "hunter2s" not in Redactor().path(long)
    assert Redactor().path(b"/tmp/postgresql://host:port") == "/tmp/postgresql://host:port"


def test_a_header_in_several_arguments_is_one() -> None:
    raw = joined(
        ("curl", "-H", "Authorization:", "Bearer", "abcdef", "https://h", "-H", "Accept:", "x/y")
    )
    assert Redactor().argv(raw)[3:] == (
        "Bearer",
        "[redacted:short]",
        "https://h",
        "-H",
        "Accept:",
        "x/y",
    )


def test_secrets_with_bytes_that_are_no_text_are_taken() -> None:
    assert Redactor().argv(b"x\0--token\0\xff\xfehunter2\xff\0")[2] == "[redacted:flag]"
    assert "pw1" not in Redactor().line(b"psql postgres://u:\xff\xfepw1@h/d")


def test_at_most_64_arguments_are_kept() -> None:
    assert len(Redactor().argv(b"a\0" * 100)) == MAX_ARGUMENTS


def test_titles_are_redacted_too() -> None:
    assert "hunter2" not in Redactor().line(b"worker: psql postgres://u:hunter2@db/x")
    assert Redactor().line(b"airflow worker -- 0190") == "airflow worker -- 0190"


def test_off_means_off() -> None:
    assert Redactor("off").argv(b"x\0--password=a\0") == ("x", "--password=a")


@given(st.binary(max_size=2000))
def test_any_bytes_give_valid_text(raw: bytes) -> None:
    for argument in (*Redactor().argv(raw), Redactor().line(raw)):
        argument.encode()


def test_a_long_command_line_keeps_both_ends_and_nothing_that_may_be_a_secret_behind_the_gap() -> (
    None
):
    raw = (
        b"java\0-cp\0/a.jar:/b\0\x01\x01\x01\0ar:/c.jar\0hunter2\0"
        b"org.apache.spark.deploy.SparkSubmit\0--name\0etl\0"
    )
    redactor = Redactor()
    kept = redactor.argv(raw)
    assert kept == (
        "java",
        "-cp",
        "/a.jar:/b",
        "…",
        "org.apache.spark.deploy.SparkSubmit",
        "--name",
        "etl",
    )
    assert Redactor().argv(joined(kept)) == kept  # replaying a recording


def test_of_many_arguments_the_first_and_the_last_are_kept() -> None:
    kept = Redactor().argv(joined(tuple(f"a{i}" for i in range(200))))
    assert len(kept) == 64 and kept[0] == "a0" and kept[-1] == "a199" and "…" in kept


def test_what_replaces_a_secret_is_small_and_the_rest_stays() -> None:
    line: tuple[str, ...] = (
        "bash",
        "-c",
        "set -e; PGPASSWORD=\"hunter2 x\" psql -h db -c 'select 1' | tee /tmp/out",
    )
    assert (
        Redactor().argv(joined(line))[2]
        == "set -e; PGPASSWORD=\"[redacted:value]\" psql -h db -c 'select 1' | tee /tmp/out"
    )
    line = ("curl", "-su", "etl:hunter2secret", "https://h/v1?date=2024-01-01&sig=kZ4nG8bQ1x0Q&x=1")
    assert Redactor().argv(joined(line))[1:] == (
        "-su",
        "etl:[redacted:short]",
        "https://h/v1?date=2024-01-01&sig=[redacted:value]&x=1",
    )
    line = ("python", "-c", "connect(host='h', password='hunter2', user='u')")
    assert (
        Redactor().argv(joined(line))[2]
        == "connect(host='h', password='[redacted:value]', user='u')"
    )


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("DB_PASSWORD", 3),
        ("spark.hadoop.fs.s3a.secret.key", 3),
        ("apiKey", 3),
        ("PGPASSWORD", 3),
        ("--client-secret", 3),
        ("X-Api-Key", 3),
        ("authorization", 2),
        ("key", 1),
        ("token_count", 0),
        ("max_tokens", 0),
        ("--password-file", 0),
        ("partition-key", 0),
        ("author", 0),
        ("monkey", 0),
        ("bypass", 0),
        ("tokenizer", 0),
        ("PasswordAuthentication", 0),
        ("next_token", 0),
        ("secret-name", 0),
        ("access_key_id", 0),
        ("SSH_AUTH_SOCK", 0),
        ("ask-vault-pass", 0),
    ],
)
def test_a_name_announces_a_secret_or_only_sounds_like_one(name: str, level: int) -> None:
    assert secrecy(name) == level


def test_the_gap_in_a_long_line_is_no_way_into_a_recording() -> None:
    """The argument behind the gap is not shown, and must not stay in the record either."""
    raw = encode(
        msgspec.structs.replace(
            _empty(Exec), argv=("java", "--token", "\x01\x01\x01", "hunter2", "Main")
        )
    )
    assert b"hunter2" in raw and b"hunter2" not in scrub(raw, Redactor())
