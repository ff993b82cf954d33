"""Each of the programs of `tests.live.bare` alone, as the command itself, without and under
`kwitness run`, in one state in which much is unusual. About 70 s;
`tests/live/test_inherited.py` has the short form."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.live.bare import PROGRAMS, compare

pytestmark = [pytest.mark.live, pytest.mark.abuse]
STATE = """
exec 3< /etc/passwd 4> /dev/null 9>> "$HELD"
trap '' INT HUP QUIT TERM USR1 USR2 ALRM CHLD TSTP TTOU PIPE
ulimit -S -n 300; ulimit -S -c 0; ulimit -f 100000; umask 027
renice -n 7 $$ > /dev/null; echo 500 > /proc/$$/oom_score_adj
taskset -p 1 $$ > /dev/null; ionice -c 2 -n 6 -p $$; export LC_CTYPE=POSIX EMPTY= 'SPACE=a b'
"""


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_program_prints_the_same(live: None, name: str, tmp_path: Path) -> None:
    program = PROGRAMS[name]
    words = shlex.split(program)
    is_shell_code = any(mark in program for mark in "|;<>$") or words[0] == "ulimit"
    command = ["sh", "-c", program] if is_shell_code else words
    bare, under = compare(command, STATE, env={"HELD": str(tmp_path / "held")})
    assert under == bare
