"""The script that an interpreter runs, from its command line.

Sources: python(1), bash(1), dash(1), perlrun(1), ruby(1), node(1), java(1).
"""

from __future__ import annotations

import msgspec


class _Syntax(msgspec.Struct, frozen=True):
    """Options that matter. `code`: the program is on the command line. `value`: a value follows."""

    code: frozenset[str]
    value: frozenset[str]
    program: frozenset[str] = frozenset()  # the program follows: a module, a jar
    clusters: bool = False  # -lc is -l -c


def _options(words: str) -> frozenset[str]:
    return frozenset(words.split())


_SHELL = _Syntax(_options("-c"), _options("-o +o -O +O --rcfile --init-file"), clusters=True)
_SYNTAX = {
    "python": _Syntax(_options("-c"), _options("-W -X -Q --check-hash-based-pycs"), _options("-m")),
    "pypy": _Syntax(_options("-c"), _options("-W -X"), _options("-m")),
    "bash": _SHELL,
    "dash": _SHELL,
    "ksh": _SHELL,
    "zsh": _SHELL,
    "sh": _SHELL,
    "perl": _Syntax(_options("-e -E"), _options("-I")),
    "ruby": _Syntax(_options("-e"), _options("-I -r -C -E")),
    "node": _Syntax(
        _options("-e --eval -p --print -pe"),
        _options("-r --require --import --loader --experimental-loader -C --conditions"),
    ),
    "java": _Syntax(
        frozenset(),
        _options(
            "-cp -classpath --class-path -p --module-path --add-modules --add-opens --add-exports "
            "--add-reads --upgrade-module-path --limit-modules"
        ),
        _options("-jar -m --module"),
    ),
}


def script_name(program: str, argv: tuple[str, ...]) -> str:
    """The base name of the script, module, jar or class; empty for any other program.

    Empty, too, where the program is on the command line (`bash -c CODE`) or comes from a pipe.
    """
    syntax = next((s for name, s in _SYNTAX.items() if program.startswith(name)), None)
    if syntax is None:
        return ""
    words = iter(argv[1:])
    for word in words:
        option = word.partition("=")[0]
        if word == "-":
            return ""
        if option in syntax.code or _holds(word, "c", syntax):
            return ""
        if option in syntax.program:
            return _base(next(words, ""))
        if option in syntax.value or _holds(word, "o", syntax):
            if option == word:
                next(words, "")
        elif word[:1] not in ("-", "+"):
            return _base(word)
    return ""


def _holds(word: str, letter: str, syntax: _Syntax) -> bool:
    """Whether the letter is one of several in one word, as in -euo."""
    return syntax.clusters and word[:1] == "-" and word[1:2] != "-" and letter in word


def _base(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
