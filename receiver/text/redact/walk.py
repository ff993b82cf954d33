"""One pass over the arguments of one command: each argument gets its meaning from the program, its
flag, its place, or the words before it.
"""

from __future__ import annotations

import re

from receiver.text.printable import words
from receiver.text.redact.flagged import Flagged
from receiver.text.redact.names import STRONG, secrecy
from receiver.text.redact.placed import SWITCH
from receiver.text.redact.programs import (
    AMBIGUOUS,
    FLAGS,
    LOGINS,
    NAMES,
    OTHER_USES,
    READERS,
    SET_VERBS,
)
from receiver.text.redact.state import program_name
from receiver.text.redact.values import MARK, is_reference

AHEAD = 64  # arguments in which a user is looked for
VERBS = 48  # words of a command that are remembered: a place or a verb is among the first ones
_IS_FLAG = re.compile(r"--[A-Za-z][\w.\-]*(?:=|$)|-[A-Za-z][\w.\-]*$")
_HEADER = re.compile(r"([A-Za-z][\w\-]{0,64})(\s{0,2}:\s{0,4})(\S.*)$", re.DOTALL)
_HEADER_FLAGS = frozenset(("-H", "--header", "--proxy-header", "-rpc-header"))
_SIGNED = re.compile(r"(?i)(?:digest|aws4-hmac-sha256|hawk|oauth|signature|sharedkey)\s+")
_MIXED = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[A-Za-z0-9+/=_!@#%^*]{10,256}$")
_USER_FLAGS = frozenset(("-u", "-U", "-user", "--user", "--username", "--login", "-xu", "-un"))
_USER = re.compile(r"(?!\d+$)[\w@$+\-][\w.@$+\\\-]{0,63}$")
_SCRIPT = re.compile(r".*\.(?:py|sh|r|R|js|jl|sql|csv|ipynb)$")
# a password as people make it: letters of both cases, digits and a character that names seldom hold
_IDENTITY = re.compile(r"--?[\w\-]*(?:-id|-ids|_id|Id|-arn)$|--(?:id|key-name|etag)$")
_SETS = re.compile(r"--?(?:set|setenv|set-env|env|var|variable|define|property|option)$")
_MADE = re.compile(
    r"(?=[^A-Z]*[A-Z])(?=[^a-z]*[a-z])(?=\D*\d)(?=[^!#^+@]*[!#^+@])[A-Za-z][A-Za-z0-9._\-]{2,30}"
    r"[!#^+@][A-Za-z0-9._!#^+\-]{0,30}$"
)
_WRAPPERS = words(
    "sudo doas env nice nohup timeout setsid time stdbuf ionice exec command chronic xargs"
)
# programs whose words are also names of programs
_MANY_WORDS = words("vault kubectl gcloud az net poetry npm")


def _is_made(argument: str) -> bool:
    """Not an address, a version, or a name with a part behind a `#` or a `+`."""
    _, _, tail = argument.partition("@")
    if tail or re.match(r"v?\d|.*\.\w{2,4}$", argument) or "++" in argument:
        return False
    return len(argument) >= 8 and not re.search(r"[#+!^][A-Za-z_]{5,}$", argument)


class Walk(Flagged):
    """Arguments in, arguments without secrets out."""

    def arguments(self, arguments: tuple[str, ...]) -> list[str]:
        """Each argument without its secrets."""
        out: list[str] = []
        self._look_ahead(arguments)
        for index, argument in enumerate(arguments):
            if self._next:
                take = self._next.pop(0)
                if not _IS_FLAG.match(argument):
                    out.append(take(argument))
                    continue
            previous = arguments[index - 1] if index else ""
            self._identity = _IDENTITY.match(previous) is not None
            following = arguments[index + 1 : index + 3]
            self._two_follow = len(following) == 2 and not any(a[:1] == "-" for a in following)
            if self._starts(argument, previous):
                self._look_ahead(arguments[index:])
                out.append(self._text(argument))
            else:
                out.append(self._one(argument, previous, last=index + 1 == len(arguments)))
        return self._by_letters(out)

    def _look_ahead(self, arguments: tuple[str, ...]) -> None:
        at = 0
        arguments = arguments[:AHEAD]
        while at < len(arguments) and program_name(arguments[at]) in _WRAPPERS:
            at += 1
            while at < len(arguments) and (arguments[at][:1] in "-" or "=" in arguments[at]):
                at += 2 if arguments[at] in ("-u", "-g", "-n", "-k", "-s", "-c", "-C") else 1
        rest = arguments[at:]
        self._all = frozenset(rest)
        known = not rest or program_name(rest[0]) in OTHER_USES
        self._user_given = not known and any(
            (flag in _USER_FLAGS and _USER.match(value) and not _SCRIPT.match(value))
            or flag.startswith(("--user=", "--username="))
            for flag, value in zip(rest, (*rest[1:], "-"), strict=True)
        )
        self._windows = bool(rest) and (
            rest[0].lower().endswith(".exe")
            or any(f.slash for f in self._flags)
            or sum(SWITCH.match(a) is not None for a in rest) > 1
        )

    def _starts(self, argument: str, previous: str) -> bool:
        """A known program: its flags count from here on."""
        name = program_name(argument)
        if name not in NAMES or name in ("sudo", "su", "printf") or "=" in argument:
            return False
        if (previous.startswith("--") and previous != "--") or previous in _USER_FLAGS:
            return False
        if self._program:
            if previous[:1] == "-" and previous[:2] != "--" and self._takes(previous):
                return False
            if name in READERS and not FLAGS.get(name):
                return False  # openssl passwd
            if name in AMBIGUOUS or any(c.isupper() for c in argument) or name == self._program:
                return False
            if self._program in _MANY_WORDS and not (FLAGS.get(name) or name in LOGINS):
                return False  # `vault kv …`, `gcloud sql users`: a word of its own
        self._program, self._verbs, self._named = name, [], None
        self._flags = FLAGS.get(name, [])
        return True

    def _one(self, argument: str, previous: str, *, last: bool) -> str:
        taken = None
        if argument.startswith("-") and len(argument) > 1:
            taken = self._flag(argument)
            if (argument in SET_VERBS or _SETS.match(argument)) and len(self._verbs) < VERBS:
                self._verbs.append("set")
        elif switched := SWITCH.match(argument):
            taken = self._switch(argument, switched)
        if taken is None and argument[:1] != "-":
            taken = self._placed(argument, last=last)
            if len(self._verbs) < VERBS:
                self._verbs.append(argument.lower())
        if taken is not None:
            return taken
        if (
            _MIXED.match(argument)
            and self._taken.random(argument)
            and secrecy(previous) >= STRONG
            and previous[:1].isalpha()
        ):
            return self._mark("flag")  # set-initial-password VALUE
        if len(previous) == 2 and previous[0] == "-" and not self._program:
            return self._taken.admin(argument)
        if _MADE.match(argument) and _is_made(argument):
            return self._mark("shape")
        if previous in _HEADER_FLAGS and (found := _HEADER.match(argument)) and secrecy(found[1]):
            return self._header(argument, found)
        return self._text(argument)

    def _header(self, argument: str, found: re.Match[str]) -> str:
        if (signed := _SIGNED.match(found[3])) and not is_reference(found[3][signed.end() :]):
            return f"{found[1]}{found[2]}{signed[0]}{self._mark('header')}"
        cleaned = self._text(argument)
        if MARK in cleaned or is_reference(found[3], script=self._script):
            return cleaned
        return found[1] + found[2] + self._mark("header") if "$" not in found[3] else cleaned
