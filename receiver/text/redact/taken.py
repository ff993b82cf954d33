"""What is done to one argument, once its place or its flag has given it a meaning."""

from __future__ import annotations

import re
from collections.abc import Callable

from receiver.text.redact.names import STRONG, WEAK, is_path_key, one_time, secrecy
from receiver.text.redact.values import DIGEST, MARK, is_code, is_reference, is_secret, looks_random

# a port, a mapping of ports, or a file: values of a `-p` that is no password
_NO_PASSWORD = re.compile(r"[\d.:,/\-]*$|.*(?:/|\.\.|\.[a-z]{2,5}$)|[a-z]\w*=", re.DOTALL)
_ADMIN = re.compile(r"(?:root|admin|administrator|sa|postgres|elastic|superuser):(?!/)[^\s:]{4,}$")
_NAME = re.compile(r"[\w.@\\$+\-]+$")
_LIKELY = re.compile(r"(?=.*[A-Za-z])(?=.*[\d!#$*+@])[^%{}=/\s]{6,64}$")
_SAID = re.compile(r"(?:echo|printf)\s+(?:-\w+\s+)*([\"']?)([^\s\"'|;&]+)\1")
_NAMED_VALUE = re.compile(r"([^;=]{1,256});(.+)$", re.DOTALL)

Mark = Callable[[str], str]


class Taken:
    """`mark` replaces a secret, and `read` reads an argument of no known meaning. `script`: the
    arguments are words of a script, so `$name` is a variable.
    """

    def __init__(self, mark: Mark, read: Callable[[str], str], *, script: bool) -> None:
        self._mark, self.read, self._script = mark, read, script

    def is_none(self, value: str) -> bool:
        """Whether it only refers to a secret, or is redacted."""
        return is_reference(value, script=self._script) or MARK in value

    def secret(self, value: str) -> str:
        return value if self.is_none(value) else self._mark("short")

    def cookie(self, value: str) -> str:
        """curl's -b: NAME=VALUE, or the name of a file."""
        if "=" not in value and ("/" in value or value.endswith(".txt")):
            return value
        return self.secret(value)

    def password(self, value: str) -> str:
        """The value of `-p` of any program that was given a user. A port or a file is not
        redacted.
        """
        if len(value) < 4 or _NO_PASSWORD.match(value) or self.is_none(value):
            return self.read(value)
        return self._mark("short")

    def likely(self, value: str) -> str:
        """The same for a flag that may mean something else: only what looks like a password."""
        return self.password(value) if _LIKELY.match(value) else self.read(value)

    def login(self, value: str, separator: str) -> str:
        """USER SEPARATOR SECRET."""
        at = value.find(separator, value.find("]") if value.startswith(MARK) else 0)
        user, secret = (value[:at], value[at + 1 :]) if at >= 0 else (value, "")
        if not secret or is_reference(secret, script=self._script) or secret.startswith(MARK):
            return self.read(value)
        if separator == ":" and (user + secret).isdigit():
            return value  # user and group
        if separator == ":" and "@" in secret:
            return f"{self.read(user)}:{self._mark('short')}@{secret.rpartition('@')[2]}"
        return f"{self.read(user)}{separator}{self._mark('short')}"

    def any_login(self, value: str) -> str:
        """USER:SECRET after a flag of a program that is not known."""
        user, _, secret = value.partition(":")
        if (
            not user
            or len(secret) < 4
            or secret.isdigit()
            or user == secret
            or secret[0] in "/\\"
            or MARK in secret
            or not _NAME.match(user)
            or any(c.isspace() for c in value)
        ):
            return self.read(value)
        return self.login(value, ":")

    def admin(self, value: str) -> str:
        """USER:SECRET after a flag that says nothing, where the user is one of a server's."""
        return self.login(value, ":") if _ADMIN.match(value) else self.read(value)

    def literal(self, value: str) -> str:
        """NAME=SECRET, whatever the name."""
        name, found, secret = value.partition("=")
        if not found or is_reference(secret, script=self._script) or secret.startswith(MARK):
            return value
        return f"{name}={self._mark('value')}"

    def prefixed(self, value: str) -> str:
        """pass:SECRET, token:SECRET; another prefix names a file or a variable."""
        prefix, found, secret = value.partition(":")
        if prefix not in ("pass", "token") or self.is_none(secret):
            return value if found and prefix in ("file", "env", "fd") else self.read(value)
        return f"{prefix}:{self._mark('value')}"

    def after_flag(
        self, value: str, level: int, *, path_key: bool, compound: bool = False, code: bool = False
    ) -> str:
        """The value of a flag whose name announces a secret."""
        if MARK in value:
            return value
        if level == WEAK and code:
            return self.read(value)
        digest = level == WEAK and compound and DIGEST.match(value)
        if not level or not (
            digest or is_secret(value, level, path_key=path_key, script=self._script)
        ):
            return self.read(value)
        if level < STRONG and ("=" in value.rstrip("=") or value[:1] in "{["):
            return self.read(value)
        if "://" in value or (value[:1] in "{[" and '"' in value):
            cleaned = self.read(value)
            return cleaned if MARK in cleaned else self._mark("flag")
        return self._mark("flag")

    def after_name(self, name: str) -> Callable[[str], str]:
        """What is done to the value of this flag, or of this NAME before its VALUE."""
        if one_time(name):
            return lambda v: self._mark("flag") if is_code(v) else self.read(v)
        level, path_key = secrecy(name.replace("/", ".").replace(":", ".")), is_path_key(name)
        compound = len(re.findall(r"[a-z]+", name.lower())) > 1
        code = name.lower().endswith("code")
        return lambda v: self.after_flag(v, level, path_key=path_key, compound=compound, code=code)

    def command(self, value: str) -> str:
        """A command that prints a password: what it says itself is the password."""
        found = _SAID.search(value)
        if found and not is_reference(found[2], script=True) and MARK not in found[2]:
            return value[: found.start(2)] + self._mark("stdin") + value[found.end(2) :]
        return self.read(value)

    def named_value(self, value: str) -> str:
        """dtexec's NAME;VALUE."""
        found = _NAMED_VALUE.match(value)
        telling_name = found and secrecy(re.sub(r"\W+", ".", found[1]).strip(".")) >= STRONG
        wrapped = found and re.search(r"(?i)pass|pwd|secret|token", found[1])
        if found and (telling_name or wrapped) and not self.is_none(found[2]):
            return f"{found[1]};{self._mark('value')}"
        return self.read(value)

    def random(self, value: str) -> bool:
        return looks_random(value) and not self.is_none(value)
