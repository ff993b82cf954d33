"""The flags of a command, and the values that they take."""

from __future__ import annotations

import re

from receiver.text.printable import words
from receiver.text.redact.names import STRONG, is_telling_word, one_time, secrecy
from receiver.text.redact.placed import Placed
from receiver.text.redact.programs import OTHER_USES, VALUE_FLAGS, Flags
from receiver.text.redact.state import Take
from receiver.text.redact.values import MARK, is_reference

_FLAG = re.compile(r"--?[A-Za-z][\w.\-]*$")
_PASSWORD_FLAGS = frozenset(("-p", "-P", "-pw", "-xp", "-pd"))
_LOGIN_FLAGS = words(
    "-b -u -U -a -A -user --user --login --username -auth --auth --basic --basic-auth --userpwd"
    " --creds --credentials --proxy-user --proxy-auth --http-auth --userpass"
)
_ATTACHED = re.compile(r"-[pP](?=.*[^A-Za-z\-=:/.])(?!\d+$)[^/=:]{6,}$")  # -pVALUE, no -path
_COMMAND_FLAG = re.compile(r"(?i)-+\w*(?:pass|pw|secret|token)\w*[\-_]?(?:eval|command|cmd)$")
_DSN = re.compile(r"([\"'\\]{0,2}[\w$#]{1,64}/)([^/@\s]{2,128}|\"[^\"]{1,128}\")(@[\w/][^\s]*)$")
_DSN_FLAGS = words("--dsn --connect --conn --connection --database --userid --logon --tns --ora")


class Flagged(Placed):
    """Reads flags. A flag of a known program comes first, then a flag whose name tells."""

    def _flag(self, argument: str) -> str | None:
        """The flag with its value redacted, or None when it is an ordinary argument."""
        name, equals, value = argument.partition("=")
        for flags in self._active():
            if name in flags.switches:
                return argument
            if name in flags.plain and not _COMMAND_FLAG.match(name):
                if not equals:
                    self._next.append(lambda a: a)
                return argument
            found = self._own(argument, name, equals, value, flags)
            if found is not None:
                return found
        if (
            self._user_given
            and not self._program
            and _ATTACHED.match(argument)
            and not self._taken.is_none(argument[2:])
        ):
            return argument[:2] + self._mark("short")
        take = self._meaning(name, equals)
        if take is None:
            return None
        if equals:
            return f"{name}={take(value)}"
        self._next.append(take)
        return argument

    def _meaning(self, name: str, equals: str) -> Take | None:
        """What is done to the value of a flag that no table names."""
        known = self._program in OTHER_USES
        if _COMMAND_FLAG.match(name):
            return self._taken.command
        if name in _DSN_FLAGS:
            return self._dsn
        if self._named and name in VALUE_FLAGS:
            return self._named
        if name in _PASSWORD_FLAGS and self._user_given and not known:
            return self._taken.password
        if name in ("-w", "-W") and self._user_given and not known:
            return self._taken.likely
        if name in _LOGIN_FLAGS and not known and not (name in ("-a", "-A") and self._program):
            level = secrecy(name)
            return lambda v: self._user(v, level)
        if not equals and _FLAG.match(name) and (secrecy(name) or one_time(name)):
            return self._taken.after_name(name)
        if equals and one_time(name):
            return self._taken.after_name(name)
        return None

    def _dsn(self, value: str) -> str:
        """Oracle's user/password@database."""
        found = _DSN.match(value)
        if found is None or self._taken.is_none(found[2]):
            return self._text(value)
        return f"{found[1]}{self._mark('value')}{found[3]}"

    def _user(self, value: str, level: int) -> str:
        """The value of `-u` and the like of a program that is not known."""
        if self._is_named(value):
            self._named = self._taken.after_name(value)
        if ":" in value and "://" not in value:
            return self._taken.any_login(value)
        return self._taken.after_flag(value, level, path_key=False)

    def _own(self, argument: str, name: str, equals: str, value: str, flags: Flags) -> str | None:
        long = argument.startswith("--") or len(name) > 2 or equals
        secret = self._taken.cookie if self._program == "curl" else self._taken.secret
        for wanted, take in (
            (flags.value, secret),
            (flags.login, lambda a: self._login(a, flags)),
            (flags.literal, self._taken.literal),
            (flags.prefixed, self._taken.prefixed),
        ):
            if name in wanted:
                if equals:
                    return f"{name}={take(value)}"
                self._next.append(take)
                return argument
        if name in flags.pair:
            self._next.append(self._pair)
            return argument
        if name in flags.both:
            self._next += [self._taken.secret, self._taken.secret]
            return argument
        return self._clustered(argument, flags) if long and argument[:2] != "--" else None

    def _login(self, value: str, flags: Flags) -> str:
        if self._program in ("http", "https", "xh", "xhs") and flags.separator not in value:
            return self._taken.secret(value)  # -A bearer
        return self._taken.login(value, flags.separator)

    def _pair(self, name: str) -> str:
        self._next.insert(0, self._taken.after_name(name))
        return self._text(name)

    def _clustered(self, argument: str, flags: Flags) -> str | None:
        """-pSECRET, -su user:SECRET."""
        for flag in flags.attached:
            if argument.startswith(flag) and len(argument) > len(flag) and len(flag) >= 2:
                value = argument[len(flag) :]
                none = is_reference(value, script=self._script) or value.startswith(MARK)
                return argument if none else flag + self._mark("short")
        at = 1
        while at < len(argument) and argument[at] in flags.boolean:
            at += 1
        if at >= len(argument):
            return None
        flag, value = "-" + argument[at], argument[at + 1 :]
        if flag not in flags.value and flag not in flags.login:
            return None
        take = (
            self._taken.secret
            if flag in flags.value
            else lambda a: self._taken.login(a, flags.separator)
        )
        if not value:
            self._next.append(take)
            return argument
        if is_telling_word(argument) or MARK in argument or len(flags.value[0]) > 2 == len(flag):
            return None
        return argument[: at + 1] + take(value)

    def _switch(self, argument: str, found: re.Match[str]) -> str | None:
        """/NAME:VALUE and /NAME VALUE of Windows."""
        name, value = found[1].lower(), found[3]
        own = any(name in flags.slash for flags in self._flags)
        tells = secrecy(found[1]) >= STRONG or name in ("p", "pw")
        if value is not None:
            tells = tells and "=" not in value and (found[2] == ":" or self._windows)
            if self._taken.is_none(value) or not (own or tells):
                return None
            return f"/{found[1]}{found[2]}{self._mark('value')}"
        if self._program == "dtexec" and name in ("par", "parameter", "set", "conn", "connection"):
            self._next.append(self._taken.named_value)
        elif own or (tells and self._windows and len(name) > 2):
            self._next.append(self._taken.after_name("password"))
        else:
            return None
        return argument
