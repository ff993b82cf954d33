"""Secrets in command lines: a corpus with planted ones, and one without any."""

from __future__ import annotations

import base64
import itertools
import logging
import re
import sys
from collections import Counter
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.attribution.frameworks.snakemake import _output
from receiver.events import VALID, Event, EventKind, Exec, FileOpened, Fork, NameQuery, encode
from receiver.kernel.decode import decode, scrub
from receiver.text.names import name_in
from receiver.text.printable import joined
from receiver.text.redact import MAX_ARGUMENTS, Mode, Redactor
from receiver.text.redact.log import RedactedFormatter, redacted
from receiver.text.redact.names import secrecy
from receiver.text.redact.vocabulary import REMEMBERED, Vocabulary
from tests.corpus import ORDINARY_LINES, SETS, Shape, ordinary, ordinary_written, secrets

T = TypeVar("T", bound=msgspec.Struct)
SECRETS = ("hunter2secretvalue", "p4ss.w0rd-X9", "Zx81/abc+def==", "s3cr3t%21value")
WORDS = (
    "password",
    "passwd",
    "secret",
    "token",
    "api-key",
    "access_key",
    "auth-token",
    "private-key",
    "client_secret",
    "db-pwd",
)
FORMS = (
    "--{w}={s}",
    "--{w}|{s}",
    "-{w}={s}",
    "{W}={s}",
    "--conf|spark.hadoop.{w}={s}",
    "jdbc:x://h/db?user=u&{w}={s}",
)
SHAPES = (
    "mysql|-p{s}",
    "mysql|-u|root|-p{s}",
    "sshpass|-p|{s}|ssh|h",
    "curl|-u|user:{s}|http://h",
    "redis-cli|-a|{s}",
    "curl|-H|Authorization: Bearer {s}",
    "curl|-H|X-Api-Key: {s}",
    "psql|postgresql://user:{s}@db:5432/x",
    "git|clone|https://x-access-token:{s}@host/r.git",
    "sh|-c|PGPASSWORD={s} psql -h db",
    "java|-Djavax.net.ssl.keyStorePassword={s}",
    "tool|--header=authorization: basic {s}",
    "aws|--secret-access-key|{s}",
)
WELL_KNOWN = (
    "AKIAIOSFODNN7EXAMPLE",
    "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
    "xoxb-123456789012-abcdefghijkl",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
)


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


def test_the_corpora_are_large_enough() -> None:
    assert len(planted()) >= 290
    halves = Counter(shape.judged for shape in secrets())
    assert len(set(secrets())) == halves.total() >= 800 and min(halves.values()) >= 400
    assert {shape.kind for shape in secrets()} == {"argv", "path", "title", "error", "env"}
    assert len(ordinary()) == ORDINARY_LINES == 2000


@pytest.mark.parametrize(
    ("number", "shapes", "lines"),
    [(2, 900, 1200), (3, 500, 2400), (4, 400, 1600), (5, 300, 2500), (6, 260, 0)],
)
def test_the_later_sets_are_large_enough_and_their_secrets_are_in_them(
    number: int, shapes: int, lines: int
) -> None:
    halves = Counter(shape.judged for shape in secrets(number))
    assert halves.total() >= shapes and min(halves.values()) >= 100
    assert not lines or len(set(ordinary_written(number))) >= lines
    for shape in secrets(number):
        assert shape.secrets and all(value in "\0".join(shape.plain()) for value in shape.secrets)


@pytest.mark.parametrize("number", SETS)
@pytest.mark.parametrize("judged", [False, True], ids=["development", "judged"])
def test_99_of_100_secrets_are_caught(number: int, judged: bool) -> None:
    half = [shape for shape in secrets(number) if shape.judged == judged]
    leaks = [shape.text for shape in half if shape.leaks(Redactor())]
    assert len(leaks) <= len(half) / 100, leaks


@pytest.mark.parametrize("kind", ["path", "title", "error", "env"])
def test_no_secret_of_the_corpus_survives_outside_of_command_lines(kind: str) -> None:
    assert [
        shape.text for shape in secrets() if shape.kind == kind and shape.leaks(Redactor())
    ] == []


def test_ordinary_lines_are_left_alone() -> None:
    """One redactor for all of them: what it has learnt must not change what it says."""
    redactor = Redactor()
    changed = [shape.text for shape in ordinary() if shape.read(redactor) != shape.plain()]
    assert len(changed) <= ORDINARY_LINES / 100, changed


@pytest.mark.parametrize("number", SETS[1:5])
def test_the_ordinary_lines_of_later_sets_are_left_alone(number: int) -> None:
    redactor, lines = Redactor(), ordinary_written(number)
    changed = [shape.text for shape in lines if shape.read(redactor) != shape.plain()]
    assert len(changed) <= len(lines) / 100, changed


def test_what_was_learnt_changes_nothing() -> None:
    """Caches and learnt words give the same text as a new redactor, and count the same."""
    old = Redactor()
    shapes = (*secrets(), *ordinary()[:500])
    for _ in range(2):
        for shape in shapes:
            new, before = Redactor(), old.counts.copy()
            assert shape.read(old) == shape.read(new)
            assert old.counts - before == new.counts


def test_the_corpus_is_redacted_idempotently() -> None:
    for shape in itertools.chain.from_iterable(map(secrets, SETS)):
        once = shape.read(Redactor())
        again = Redactor()
        twice = (
            again.argv(joined(once))
            if shape.kind == "argv"
            else Shape(shape.kind, once[0]).read(again)
        )
        assert twice == once and not again.counts


@pytest.mark.parametrize("mode", ["scrub", "strip"])
def test_no_planted_secret_survives(mode: Mode) -> None:
    leaks = [
        argv for argv, secret in planted() if secret in " ".join(Redactor(mode).argv(joined(argv)))
    ]
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


def _empty(kind: type[T]) -> T:
    blank = {
        "int": 0,
        "str": "",
        "ProcessKey": {"tgid": 1, "start_boottime_ns": 1},
        "tuple[str, ...]": (),
    }
    for number in (0, 1):  # some enums have no member 0
        blank["int"] = number
        values = {
            f.name: blank[str(kind.__annotations__[f.name])] for f in msgspec.structs.fields(kind)
        }
        made = msgspec.convert(values, kind)
        if VALID[EventKind[_screaming(kind.__name__)]](made):
            return made
    raise AssertionError(kind)


def _screaming(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()


def test_every_text_of_every_record_goes_through_it() -> None:
    """Whatever text field an event has, a token in it does not come out:
    neither decoded nor recorded."""
    from receiver import events

    token = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"
    seen = 0
    for kind in events._ENCODERS:
        blank: Event = _empty(kind)
        for field in msgspec.structs.fields(kind):
            sort = str(kind.__annotations__[field.name])
            if sort not in ("str", "tuple[str, ...]"):
                continue
            for value in (token, "token=abc1"):
                raw = encode(
                    msgspec.structs.replace(
                        blank, **{field.name: (f"X={value}",) if sort != "str" else value}
                    )
                )
                if value.encode() not in raw:
                    continue  # no room for it in a comm
                if kind is NameQuery and value != token:
                    continue
                if kind is NameQuery:
                    raw = encode(
                        msgspec.structs.replace(
                            _empty(NameQuery), labels=chr(len(token)) + token + "\x03com"
                        )
                    )
                secret = value.partition("=")[2] or value
                assert secret not in str(decode(raw, Redactor())), (kind, field.name)
                assert secret.encode() not in scrub(raw, Redactor()), (kind, field.name)
                again = Redactor()
                assert (
                    decode(scrub(raw, Redactor()), again) == decode(raw, Redactor())
                    and not again.counts
                )
                seen += 1
    assert seen >= 40


def test_a_name_of_dns_keeps_its_form() -> None:
    query = msgspec.structs.replace(
        _empty(NameQuery), labels="\x28ghp_abcdefghijklmnopqrstuvwxyz0123456789\x07example\x03com"
    )
    event = decode(encode(query), Redactor())
    assert isinstance(event, NameQuery) and name_in(event.labels) == "[redacted].example.com"


def test_a_name_of_a_process_is_replaced_as_a_whole() -> None:
    event = decode(encode(msgspec.structs.replace(_empty(Fork), comm="password=abc12")), Redactor())
    assert isinstance(event, Fork) and event.comm == "[redacted]"


def test_off_leaves_paths_alone() -> None:
    raw = encode(msgspec.structs.replace(_empty(FileOpened), path="/x/token=abc1"))
    event = decode(raw, Redactor("off"))
    assert isinstance(event, FileOpened) and event.path == "/x/token=abc1"


def test_log_lines_are_behind_it() -> None:
    record = logging.LogRecord(
        "kwitness",
        logging.WARNING,
        "",
        0,
        "exporting to %s",
        ("https://u:hunter2@collector:4318",),
        None,
    )
    assert (
        RedactedFormatter("%(message)s").format(record)
        == "exporting to https://u:[redacted:url]@collector:4318"
    )
    try:
        raise ValueError("password=hunter2")
    except ValueError:
        record.exc_info = sys.exc_info()
    assert "hunter2" not in RedactedFormatter("%(message)s").format(record)
    assert (
        redacted(
            "OTEL_EXPORTER_OTLP_ENDPOINT=ftp://u:hunter2@h: the scheme must be http or https"
        ).count("hunter2")
        == 0
    )


def test_learnt_words_are_bounded() -> None:
    vocabulary = Vocabulary(b"secret")
    for number in range(3 * REMEMBERED):
        word = "".join(chr(97 + (number >> shift) % 26) for shift in (0, 5, 10, 15))
        assert not vocabulary.has_sign(word.encode())
    assert len(vocabulary._uninteresting) <= REMEMBERED + 1
    assert vocabulary.has_sign(b"a secret")


@pytest.mark.parametrize(
    "hostile",
    [
        "a-" * 2040 + "=",
        "password" * 500 + ":",
        "\"'" * 2000,
        "[{(" * 1300 + "password=",
        "a=b," * 1000,
        "x://" * 1000,
        "u:p@" * 1000,
        "token=[" + "'a'," * 1000,
        "\\" * 4000 + '"',
        "eyJ" * 1300,
        "-----BEGIN A PRIVATE KEY-----" * 130,
        "--password " * 370,
        "bearer " * 580,
        "password '" * 400,
        "name=password,value=" * 200,
        "password=[{(" * 340,
        "bash -c '" * 450,
        "pw=[" * 1000 + "'a",
        "pw=[{" * 800 + "'a",
        "login(" * 680,
        "connect('a'," * 340,
        'send "' * 580,
        "<<< " * 1000,
        "read p <<< x " * 300,
        "echo a | " * 450,
        "identified by " * 290,
        "a:10:b:c:" * 450,
        "/p:" * 1300,
        "-u a -p b " * 400,
        "$(" * 2000,
        "x\0" * 2000,
        "-u\0a\0-p\0b\0" * 300,
        "user a password b " * 220,
        "AKIAIOSFODNN7EXAMPLE,'" * 180,
        "A1b2" * 1000,
        "sudo " * 800,
        "mysql -u a -p b " * 250,
        "a <<E\n" * 600,
        "&& echo a | sudo -S " * 200,
        "<password>" * 400,
        "s|__PASSWORD__" * 290,
        "name 'x' " * 450,
        "eyJabcdefgh." * 340,
    ],
)
def test_hostile_lines_come_out_as_text(hostile: str) -> None:
    """4,096 bytes are what the kernel half sends. No pattern may take more than linear steps:
    this must simply return."""
    raw = hostile.encode()[:4096]
    for value in (
        *Redactor().argv(raw),
        Redactor().line(raw),
        Redactor().path(raw),
        *Redactor().entries(raw),
    ):
        value.encode()


@given(st.text(alphabet="ab=:'\"\\-/ @{[()]},;|&pasword$%\n", max_size=200))
def test_any_text_is_redacted_idempotently(value: str) -> None:
    once = Redactor().line(value.encode())
    again = Redactor()
    assert again.line(once.encode()) == once


def test_what_was_hidden_in_base64_goes_through_it_too() -> None:
    marker = base64.b64encode(b"out/token=abc1x/a.csv").decode()
    assert _output(f"/w/.snakemake/incomplete/{marker}") == "out/token=[redacted:value]"
    assert (
        _output(f"/w/.snakemake/incomplete/{base64.b64encode(b'out/a.csv').decode()}")
        == "out/a.csv"
    )
