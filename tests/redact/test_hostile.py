"""Lines that are made to come through, to be kept for ever, or to break it."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from receiver.attribution.frameworks.snakemake import _output
from receiver.text.redact import Redactor
from receiver.text.redact.vocabulary import REMEMBERED, Vocabulary


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
