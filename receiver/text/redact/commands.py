"""Argument lists, and the command lines inside of arguments: `bash -c '…'`, `ssh host '…'`, a list
in Python.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from receiver.text.redact.names import STRONG, is_path_key, is_telling_word, telling
from receiver.text.redact.programs import (
    ECHOES,
    FLAGS,
    INTERPRETERS,
    KEYED,
    KEYED_NOT,
    KEYED_VERBS,
    KEYED_WORDS,
    LETTERS,
    LOGINS,
    NAMES,
    PLACES,
    READERS,
    READS_SECRET,
    ArgumentPlace,
    Flags,
)
from receiver.text.redact.scan import Mark, scan
from receiver.text.redact.shell import Command, commands, requoted
from receiver.text.redact.values import MARK, is_reference, is_secret, looks_random

DEPTH = 5  # depth of command lines inside of command lines
_FLAG = re.compile(r"--?[A-Za-z][\w.\-]*$")
_IS_FLAG = re.compile(r"--[A-Za-z][\w.\-]*(?:=|$)|-[A-Za-z][\w.\-]*$")
_SWITCH = re.compile(r"(/(?:p|pw|pass|passwd|password)):(.+)$", re.IGNORECASE | re.DOTALL)
_WORDS = re.compile(r"[a-z0-9_.\-]+")
_TELLING_FLAG = re.compile(
    r"(?i)(?<![\w.])-[\w.\-]*(?:pass|secret|token|key|pwd|cred|auth|pw|cookie)"
)
_QUOTED = re.compile(r"([\"'])((?:(?!\1)[^\\\n])*+)\1")
_BETWEEN = re.compile(r"\s{0,4},\s{0,4}$")
_HEADER = re.compile(r"([A-Za-z][\w\-]{0,64})(\s{0,2}:\s{0,4})(\S.*)$", re.DOTALL)
_USER_FLAGS = frozenset(("-u", "-U", "-user", "--user", "--username", "--login"))
# a port, a mapping of ports, a file, or a name with a number: values of a `-p` that is no password
_NO_PASSWORD = re.compile(r"[\d.:/\-]*$|[A-Za-z_\-]+\d{1,4}$|.*(?:/|\.\.|\.[a-z]{2,5}$)", re.DOTALL)
_MIXED = re.compile(
    r"(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[A-Za-z0-9+/=_!@#%^*]{10,256}$"
)  # not a name of Kubernetes, a file or a word
_HEADER_FLAGS = frozenset(("-H", "--header", "--proxy-header", "-rpc-header"))


def holds_commands(text: str) -> bool:
    """Whether it may be a flag of a known program."""
    lowered = text.lower()
    return _TELLING_FLAG.search(text) is not None or not NAMES.isdisjoint(_WORDS.findall(lowered))


class Walk:
    """One pass over the arguments of one command.

    `script`: they are words of a script, so `$name` is a variable.
    """

    def __init__(
        self,
        mark: Mark,
        depth: int = 0,
        *,
        script: bool = False,
        cut: bool = False,
        program: str = "",
    ) -> None:
        self._mark, self._depth, self._script, self._cut = mark, depth, script, cut
        self._program = program
        self._flags = FLAGS.get(program, [])
        self._places: list[
            tuple[ArgumentPlace, int]
        ] = []  # with the index of the word that each stands behind
        self._verbs: list[str] = []  # words that are no flags, since the program
        self._next: list[Callable[[str], str]] = []  # what is done to the next arguments
        # `-u NAME` came before: a later `-p` may be a password, whatever the program is
        self._user_given = False

    def arguments(self, arguments: tuple[str, ...]) -> list[str]:
        out = []
        for index, argument in enumerate(arguments):
            if self._next:
                take = self._next.pop(0)
                if not _IS_FLAG.match(argument):
                    out.append(take(argument))
                    continue
            previous = arguments[index - 1] if index else ""
            if previous in _USER_FLAGS and not argument.startswith("-"):
                self._user_given = True
            if self._starts(argument, previous):
                out.append(self._text(argument))
            else:
                out.append(self._one(argument, previous, last=index + 1 == len(arguments)))
        return self._by_letters(out)

    def _starts(self, argument: str, previous: str) -> bool:
        """A known program: its flags count from here on."""
        name = argument.rpartition("/")[2].removesuffix(".exe").lower()
        if (
            name not in NAMES
            or name in READERS
            or (previous.startswith("--") and previous != "--")
            or "=" in argument
        ):
            return False
        if self._program and previous[:1] == "-" and previous[:2] != "--" and self._takes(previous):
            return False
        if self._program and not name.islower():
            return False
        if self._program in ("vault", "kubectl", "gcloud", "az", "net", "poetry", "npm") and not (
            FLAGS.get(name) or name in LOGINS
        ):
            return False  # `vault kv …`, `gcloud sql users`: a word of its own
        if self._program and name in (
            "sql",
            "exp",
            "imp",
            "net",
            "fly",
            "rar",
            "zip",
            "http",
            "https",
            "db2",
        ):
            return False
        self._program, self._verbs = name, []
        self._flags = FLAGS.get(name, [])
        return True

    def _takes(self, flag: str) -> bool:
        return any(flag in f.value + f.login + f.pair + f.both for f in self._flags)

    def _active(self) -> list[Flags]:
        return [f for f in self._flags if not f.verbs or not f.verbs.isdisjoint(self._verbs)]

    def _one(self, argument: str, previous: str, *, last: bool) -> str:
        if argument.startswith("-") and len(argument) > 1:
            taken = self._flag(argument)
            if taken is not None:
                return taken
        elif switched := _SWITCH.match(argument):
            return argument if is_reference(switched[2]) else f"{switched[1]}:{self._mark('value')}"
        else:
            taken = self._placed(argument, last=last)
            self._verbs.append(argument.lower())
            if taken is not None:
                return taken
        if (
            _MIXED.match(argument)
            and looks_random(argument)
            and telling(previous) >= STRONG
            and previous[:1].isalpha()
        ):
            return self._mark("flag")  # set-initial-password VALUE
        if previous in _HEADER_FLAGS and (found := _HEADER.match(argument)) and telling(found[1]):
            return self._header(argument, found)
        return self._text(argument)

    def _header(self, argument: str, found: re.Match[str]) -> str:
        cleaned = self._text(argument)
        if MARK in cleaned or is_reference(found[3], script=self._script):
            return cleaned
        return found[1] + found[2] + self._mark("header") if "$" not in found[3] else cleaned

    # flags

    def _flag(self, argument: str) -> str | None:
        """The flag with its value redacted, or None when it is an ordinary argument."""
        name, equals, value = argument.partition("=")
        for flags in self._active():
            if name in flags.switches:
                return argument
            if name in flags.plain:
                if not equals:
                    self._next.append(lambda a: a)
                return argument
            found = self._own(argument, name, equals, value, flags)
            if found is not None:
                return found
        if name == "-p" and self._user_given:
            if equals:
                return f"{name}={self._password(value)}"
            self._next.append(self._password)
            return argument
        if not equals and _FLAG.match(argument) and (level := telling(argument)):
            self._next.append(lambda a: self._after_flag(a, level, is_path_key(argument)))
            return argument
        return None

    def _own(self, argument: str, name: str, equals: str, value: str, flags: Flags) -> str | None:
        long = argument.startswith("--") or len(name) > 2 or equals
        for wanted, take in (
            (flags.value, self._secret),
            (flags.login, lambda a: self._login(a, flags.separator)),
            (flags.literal, self._literal),
            (flags.prefixed, self._passphrase),
        ):
            if name in wanted:
                if equals:
                    return f"{name}={take(value)}"
                self._next.append(take)
                return argument
        if name in flags.pair:
            self._next += [self._named]
            return argument
        if name in flags.both:
            self._next += [self._secret, self._secret]
            return argument
        if long and not argument.startswith("--"):
            return self._clustered(argument, flags)
        return None

    def _clustered(self, argument: str, flags: Flags) -> str | None:
        """-pSECRET, -su user:SECRET."""
        for flag in flags.attached:
            if argument.startswith(flag) and len(argument) > len(flag) and len(flag) >= 2:
                value = argument[len(flag) :]
                return (
                    argument
                    if is_reference(value, script=self._script)
                    else flag + self._mark("short")
                )
        at = 1
        while at < len(argument) and argument[at] in flags.boolean:
            at += 1
        if at >= len(argument):
            return None
        flag, value = "-" + argument[at], argument[at + 1 :]
        if flag in flags.value or flag in flags.login:
            take = (
                self._secret if flag in flags.value else lambda a: self._login(a, flags.separator)
            )
            if not value:
                self._next.append(take)
                return argument
            if not is_telling_word(argument) and MARK not in argument:
                return argument[: at + 1] + take(value)
        return None

    # values

    def _secret(self, value: str) -> str:
        if is_reference(value, script=self._script) or MARK in value:
            return value
        if (
            self._program == "curl"
            and "=" not in value
            and ("/" in value or value.endswith(".txt"))
        ):
            return value  # -b FILE
        return self._mark("short")

    def _password(self, value: str) -> str:
        """The value of `-p` of an unknown program that was given a user. A port, a file or a word is
        not redacted."""
        plain = len(value) < 6 or not any(c.isdigit() for c in value) or _NO_PASSWORD.match(value)
        if plain or MARK in value or is_reference(value, script=self._script):
            return self._text(value)
        return self._mark("short")

    def _login(self, value: str, separator: str) -> str:
        at = value.find(separator, value.find("]") if value.startswith(MARK) else 0)
        user, found, secret = (
            (value[:at], separator, value[at + 1 :]) if at >= 0 else (value, "", "")
        )
        if (
            not found
            or not secret
            or is_reference(secret, script=self._script)
            or secret.startswith(MARK)
        ):
            return self._text(value)
        if separator == ":" and (user + secret).isdigit():
            return value  # user and group
        if separator == ":" and "@" in secret:
            return f"{self._text(user)}:{self._mark('short')}@{secret.rpartition('@')[2]}"
        return f"{self._text(user)}{separator}{self._mark('short')}"

    def _literal(self, value: str) -> str:
        name, found, secret = value.partition("=")
        if not found or is_reference(secret, script=self._script) or secret.startswith(MARK):
            return value
        return f"{name}={self._mark('value')}"

    def _passphrase(self, value: str) -> str:
        if (
            value.startswith("pass:")
            and not is_reference(value[5:], script=self._script)
            and MARK not in value
        ):
            return "pass:" + self._mark("value")
        return value

    def _named(self, name: str) -> str:
        level = telling(name)
        self._next.insert(0, lambda a: self._after_flag(a, level, is_path_key(name)))
        return self._text(name)

    def _after_flag(self, value: str, level: int, path_key: bool) -> str:
        """The value of a flag whose name announces a secret."""
        if MARK in value:
            return value
        if level and is_secret(value, level, path_key=path_key, script=self._script):
            if level < STRONG and ("=" in value or value[:1] in "{["):
                return self._text(value)
            if "://" in value or (value[:1] in "{[" and '"' in value):
                cleaned = self._text(value)
                return cleaned if MARK in cleaned else self._mark("flag")
            return self._mark("flag")
        return self._text(value)

    # places

    def _placed(self, argument: str, *, last: bool) -> str | None:
        if MARK in argument:
            return argument if argument.startswith(MARK) else None
        if (form := LOGINS.get(self._program)) and (found := form.match(argument)):
            return (
                argument
                if is_reference(found[2], script=self._script)
                else f"{found[1]}{self._mark('value')}{found[3] or ''}"
            )
        if "=" in argument and not argument.startswith("=") and self._is_assigned(argument):
            return self._literal(argument)
        for place in PLACES.get(self._program, ()):
            if (
                self._is_at(place)
                and "=" not in argument
                and not is_reference(argument, script=self._script)
            ):
                return (
                    self._mark("place")
                    if self._program != "smbclient" or last or len(self._verbs) == 1
                    else None
                )
        if self._program == "poetry" and argument.startswith("http-basic."):
            self._next += [self._text, self._secret]
        elif self._program in KEYED and self._is_keyed(argument):
            self._next.append(self._secret)
        return None

    def _is_assigned(self, argument: str) -> bool:
        if (
            self._program == "vault"
            and "write" in self._verbs
            and argument.startswith("secret_id=")
        ):
            return True
        return any(flags.assigned for flags in self._active())

    def _is_at(self, place: ArgumentPlace) -> bool:
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
            or telling(argument.replace(":", ".").replace("/", ".")) >= STRONG
        )

    def _by_letters(self, out: list[str]) -> list[str]:
        """htpasswd -b: the last argument is the password."""
        batch = (
            self._program in LETTERS and len(out) > 2 and any(re.match(r"-\w*b", a) for a in out)
        )
        if batch and MARK not in out[-1] and not is_reference(out[-1], script=self._script):
            out[-1] = self._mark("place")
        return out

    def _text(self, argument: str) -> str:
        program = self._program if self._program in INTERPRETERS else ""
        return argument_text(
            argument, self._mark, self._depth, script=self._script, cut=self._cut, program=program
        )


def argument_text(
    argument: str,
    mark: Mark,
    depth: int,
    *,
    script: bool = False,
    whole: bool = True,
    cut: bool = False,
    commands_too: bool = False,
    program: str = "",
) -> str:
    """One argument: pairs, URLs and tokens in it, and command lines inside of it.

    `commands_too`: also when it is a single word.
    """
    if len(argument) < 4:
        return argument
    inner = (commands_too or any(c in argument for c in " \t\n")) and depth < DEPTH
    text = scan(
        argument,
        mark,
        whole=whole and not (inner and _is_script(argument)),
        script=script or inner,
        cut=cut,
    )
    if inner and (program or holds_commands(text)):
        text = _lists(text, mark, depth)
        text = line(text, mark, depth + 1, program)
    return text


def _is_script(argument: str) -> bool:
    """`PGPASSWORD=x psql …`: the value ends at the blank."""
    head = argument.partition("=")[0]
    return head.isupper() and re.search(r"\s(?:[;&|]|[a-z./\-]\S*)", argument) is not None


def line(text: str, mark: Mark, depth: int = 0, program: str = "") -> str:
    """A shell's line: the arguments of each simple command.

    `program`: the program whose own commands they are.
    """
    found = commands(text)
    out: list[str] = []
    kept = 0
    for index, command in enumerate(found):
        values = tuple(word.value for word in command.words)
        if _is_echoed(found, index, text):
            cleaned = [
                values[0],
                *(v if v[:1] in "-%$" or MARK in v else mark("stdin") for v in values[1:]),
            ]
        else:
            cleaned = Walk(mark, depth, script=True, program=program).arguments(values)
        for word, value in zip(command.words, cleaned, strict=True):
            if value != word.value:
                out += [text[kept : word.start], requoted(text[word.start : word.end], value)]
                kept = word.end
    out.append(text[kept:])
    return "".join(out)


def _is_echoed(found: list[Command], index: int, text: str) -> bool:
    """`echo SECRET | docker login --password-stdin`."""
    command = found[index]
    if command.ending != "|" or command.words[0].value not in ECHOES or index + 1 >= len(found):
        return False
    following = found[index + 1].words
    return READS_SECRET.search(text[following[0].start : following[-1].end]) is not None


def _lists(text: str, mark: Mark, depth: int) -> str:
    """['mysqldump', '-pSECRET'] in Python and JSON: the arguments of a command."""
    out: list[str] = []
    kept = 0
    group: list[re.Match[str]] = []
    for found in (*_QUOTED.finditer(text), None):
        if found is not None and (
            not group or _BETWEEN.match(text, group[-1].end(), found.start())
        ):
            group.append(found)
            continue
        values = tuple(g[2] for g in group)
        if len(values) > 1 and (
            values[0].rpartition("/")[2] in NAMES or any(v.startswith("-") for v in values)
        ):
            for g, value in zip(group, Walk(mark, depth + 1).arguments(values), strict=True):
                if value != g[2]:
                    out += [text[kept : g.start(2)], value]
                    kept = g.end(2)
        group = [found] if found is not None else []
    out.append(text[kept:])
    return "".join(out)
