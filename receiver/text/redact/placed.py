"""The arguments of a command that are no flags: the place, or the word before them, gives them
their meaning.
"""

from __future__ import annotations

import re

from receiver.text.printable import words
from receiver.text.redact.names import STRONG, secrecy
from receiver.text.redact.programs import (
    KEYED,
    KEYED_NOT,
    KEYED_VERBS,
    KEYED_WORDS,
    LETTERS,
    LOGINS,
    PLACES,
    SET_VERBS,
    ArgumentPlace,
)
from receiver.text.redact.state import CommandState, Take
from receiver.text.redact.values import MARK, is_path, is_reference

SWITCH = re.compile(r"/([A-Za-z][\w.]{0,63})(?:([:=])(.+))?$", re.DOTALL)
_COMPOUND = re.compile(r"(?=.*(?:[_\-./:\[]|[a-z][A-Z])|[A-Z]{4,}$)[\w./:\[\]\-]{3,128}$")
_PLAIN_NAMES = frozenset(("password", "passwd", "passphrase"))
_USER_VERB = re.compile(
    r"(?:set|add|create|change|reset|update)[_\-](?:\w+[_\-])*(?:user|users|password|passwd"
    r"|credentials"
    r"|login)$"
)
_MAKES = words("init create set put add update edit import")
_SCHEME = re.compile(r"(?i)(?:bearer|basic|token|apikey|digest|ssws)$")
_SHARE = re.compile(r"\\|[A-Za-z]:$|\*$|(?i:lpt)\d")  # of net use, which may lack its device


class Placed(CommandState):
    """Reads positional arguments."""

    def _placed(self, argument: str, *, last: bool) -> str | None:
        if argument.startswith(MARK):
            return argument
        if MARK in argument:
            return None
        if (form := LOGINS.get(self._program)) and (found := form.match(argument)):
            if is_reference(found[2], script=self._script):
                return argument
            return f"{found[1]}{self._mark('value')}{found[3] or ''}"
        if "=" in argument and self._is_assigned(argument):
            return self._taken.literal(argument)
        for place in PLACES.get(self._program, ()):
            if self._is_at(place) and self._is_placed(argument, last=last):
                return self._mark("place")
        if argument[-1:] in ("=", ":") and argument[:1].isalpha() and secrecy(argument[:-1]):
            # sc.exe: password= VALUE; a header that no quotes hold together
            self._next.append(self._header_word(argument[:-1]))
        elif self._program == "poetry" and argument.startswith("http-basic."):
            self._next += [self._text, self._taken.secret]
        elif self._program in KEYED and self._is_keyed(argument):
            self._next.append(self._taken.secret)
        elif _USER_VERB.match(argument) and self._program not in PLACES and self._two_follow:
            self._next += [self._text, self._taken.password]  # set-user-credentials USER PASSWORD
        elif self._is_named(argument):
            self._named = self._taken.after_name(argument)
            self._next.append(self._named)
        return None

    def _header_word(self, name: str) -> Take:
        def take(value: str) -> str:
            if _SCHEME.match(value):
                self._next.insert(0, self._taken.secret)
                return value
            return value if is_path(value) else self._taken.after_name(name)(value)

        return take

    def _is_placed(self, argument: str, *, last: bool) -> bool:
        if self._program == "net" and (
            _SHARE.match(argument) or self._verbs[0] not in ("use", "user")
        ):
            return False
        if "=" in argument or SWITCH.match(argument):
            return False
        if is_reference(argument, script=self._script):
            return False
        return self._program != "smbclient" or last or len(self._verbs) == 1

    def _is_assigned(self, argument: str) -> bool:
        if argument.startswith("="):
            return False
        if self._program == "vault" and argument.startswith("secret_id="):
            return True
        if not self._flags and {"secret", "secrets"} & set(self._verbs):
            return not _MAKES.isdisjoint(self._verbs)
        return any(flags.assigned for flags in self._active())

    def _is_at(self, place: ArgumentPlace) -> bool:
        if place.needs and place.needs not in self._all:
            return False
        count = len(place.verbs)
        for start in range(len(self._verbs) - count + 1) if count else (0,):
            if tuple(self._verbs[start : start + count]) == place.verbs:
                behind = len(self._verbs) - start - count
                return place.skip <= behind < place.skip + place.take
        return False

    def _is_keyed(self, argument: str) -> bool:
        """The NAME of `set NAME VALUE`."""
        verbs = set(self._verbs)
        if self._program == "gcloud" and "config" not in verbs:
            return False
        if verbs & KEYED_NOT or not verbs & KEYED_VERBS or "=" in argument:
            return False
        if self._program == "rclone" and argument == "pass":
            return True
        return (
            argument.lower() in KEYED_WORDS
            or secrecy(argument.replace(":", ".").replace("/", ".")) >= STRONG
        )

    def _is_named(self, argument: str) -> bool:
        """The same of a program that is not known: only what can be nothing but a name."""
        verbs = {*self._verbs, self._program}
        return (
            not verbs.isdisjoint(SET_VERBS)
            and verbs.isdisjoint(KEYED_NOT)
            and (_COMPOUND.match(argument) is not None or argument.lower() in _PLAIN_NAMES)
            and secrecy(re.sub(r"[:/\[\]]", ".", argument).strip(".")) >= STRONG
            and not is_path(argument)
        )

    def _by_letters(self, out: list[str]) -> list[str]:
        """htpasswd -b: the last argument is the password."""
        batch = (
            self._program in LETTERS and len(out) > 2 and any(re.match(r"-\w*b", a) for a in out)
        )
        if batch and MARK not in out[-1] and not is_reference(out[-1], script=self._script):
            out[-1] = self._mark("place")
        return out
