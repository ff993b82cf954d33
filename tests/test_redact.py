"""Secrets in command lines: a corpus with planted ones, and one without any."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.redact import MAX_ARGUMENTS, Redactor
from receiver.text import joined

SECRETS = ("hunter2secretvalue", "p4ss.w0rd-X9", "Zx81/abc+def==", "s3cr3t%21value")
WORDS = ("password", "passwd", "secret", "token", "api-key", "access_key", "auth-token", "private-key", "client_secret", "db-pwd")
FORMS = ("--{w}={s}", "--{w}|{s}", "-{w}={s}", "{W}={s}", "--conf|spark.hadoop.{w}={s}", "jdbc:x://h/db?user=u&{w}={s}")
SHAPES = (
    "mysql|-p{s}", "mysql|-u|root|-p{s}", "sshpass|-p|{s}|ssh|h", "curl|-u|user:{s}|http://h", "redis-cli|-a|{s}",
    "curl|-H|Authorization: Bearer {s}", "curl|-H|X-Api-Key: {s}", "psql|postgresql://user:{s}@db:5432/x",
    "git|clone|https://x-access-token:{s}@host/r.git", "sh|-c|PGPASSWORD={s} psql -h db",
    "java|-Djavax.net.ssl.keyStorePassword={s}",
    "tool|--header=authorization: basic {s}", "aws|--secret-access-key|{s}",
)  # fmt: skip
WELL_KNOWN = (
    "AKIAIOSFODNN7EXAMPLE", "ghp_abcdefghijklmnopqrstuvwxyz0123456789", "xoxb-123456789012-abcdefghijkl",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
)  # fmt: skip


def planted() -> list[tuple[tuple[str, ...], str]]:
    lines = []
    for secret, word, form in itertools.product(SECRETS, WORDS, FORMS):
        text = form.format(w=word, W=word.upper().replace("-", "_"), s=secret)
        lines.append((("tool", *text.split("|"), "last"), secret))
    for secret, shape in itertools.product(SECRETS, SHAPES):
        lines.append((tuple(shape.format(s=secret).split("|")), secret))
    lines += [(("tool", "--x", secret), secret) for secret in WELL_KNOWN]
    return lines


HARMLESS = [
    ("python3", "-m", "etl.load", "--date", "2024-01-15", "--partition-key-count", "7"), ("dbt", "run", "--select", "stg_users"),
    ("spark-submit", "--conf", "spark.executor.memory=2g", "job.py"), ("bash", "-c", "sort -k2 in.csv > out.csv"),
    ("ls", "-la", "/var/lib/tokenizer"), ("java", "-Xmx2g", "-jar", "app.jar"), ("grep", "-r", "pattern", "src"),
    ("airflow", "tasks", "run", "etl", "load", "2024-01-15"), ("cp", "keys.csv", "/data/monkey.csv"), ("make", "-j2", "all"),
    ("gcc", "-O2", "author.c"), ("rsync", "-a", "src/", "host:/dst"), ("tar", "-cpf", "x.tar", "dir"), ("mkdir", "-p", "/data/out"),
    ("git", "commit", "-m", "fix: authors list"), ("sort", "-k", "1,2", "keyboard.txt"), ("python3", "passenger_counts.py"),
    ("psql", "-h", "db", "-p", "5432"), ("ssh", "-p", "2222", "host"), ("docker", "run", "-p", "80:80", "nginx"),
]  # fmt: skip


def test_the_corpus_is_large_enough() -> None:
    assert len(planted()) >= 290


@pytest.mark.parametrize("mode", ["scrub", "strip"])
def test_no_planted_secret_survives(mode: str) -> None:
    leaks = [argv for argv, secret in planted() if secret in " ".join(Redactor(mode).argv(joined(argv)))]  # type: ignore[arg-type]
    assert leaks == []


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
    assert Redactor().argv(b"x\0postgresql://u:hunter2secret@")[1] == "postgresql://u:[redacted:url]@"
    assert Redactor().argv(b"x\0postgresql://u:hunter2sec")[1] == "postgresql://u:[redacted:url]"
    assert Redactor().argv(b"x\0http://host:8080") == ("x", "http://host:8080")


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


def test_a_long_command_line_keeps_both_ends_and_nothing_that_may_be_a_secret_behind_the_gap() -> None:
    raw = b"java\0-cp\0/a.jar:/b\0\x01\x01\x01\0ar:/c.jar\0hunter2\0org.apache.spark.deploy.SparkSubmit\0--name\0etl\0"
    redactor = Redactor()
    kept = redactor.argv(raw)
    assert kept == ("java", "-cp", "/a.jar:/b", "…", "org.apache.spark.deploy.SparkSubmit", "--name", "etl")
    assert Redactor().argv(joined(kept)) == kept  # replaying a recording


def test_of_many_arguments_the_first_and_the_last_are_kept() -> None:
    kept = Redactor().argv(joined(tuple(f"a{i}" for i in range(200))))
    assert len(kept) == 64 and kept[0] == "a0" and kept[-1] == "a199" and "…" in kept
