"""Secrets in any text.

These are `name=value` and `name: value` in all forms of quoting (shell, JSON in JSON, Python,
connection strings, query strings, headers), the user information of URLs, passwords in SQL, and
tokens that are recognised by their form. `mark(rule)` counts, and returns the text that replaces a
secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from receiver.text.printable import words
from receiver.text.redact.names import MEDIUM, STRONG, WEAK, is_path_key, secrecy
from receiver.text.redact.phrases import closing, phrases
from receiver.text.redact.tokens import BEARER, CUT_TOKEN, TOKENS, WEBHOOKS, without_random
from receiver.text.redact.urls import without_userinfo
from receiver.text.redact.values import DIGEST, MARK, is_path, is_reference, is_secret, looks_random

Mark = Callable[[str], str]

# each name is tried once, from its first character on: that keeps the scan linear
_PAIR = re.compile(
    r"(?<![\w.\-])(-{0,3}\.?\w[\w.\-]*+)((?:\\{0,7}[\"'])?(?:\[\])?\]?)(\s{0,4}(?:=>|:=|==?|:"
    r"|%3[AaDd])\s{0,4}|(?<=\])\s{1,4}(?=[\"']))"
)
_OPENING = re.compile(r"[bBrRuUfFnN@$]{0,2}(\\{0,7}[\"'`])")
_BARE = re.compile(
    r"(?:[^\s\"'`&;,)}\]<>|]|[<>|](?=[^\s&\"'])|,(?![\s\"'\\]|[\w.\-]{1,64}[\"']?\s?[=:]|$)"
    r"|[)}\]](?![\s,;)}\]\"'`]|$))+"
)
_PATH_BARE = re.compile(r"[^\s\"'`&;,/}\]]+")
_SCHEME = re.compile(
    r"(?i)(?:bearer|basic|token|digest|negotiate|apikey|splunk|bot|ssws|aws4-hmac-sha256|hawk"
    r"|oauth|signature|sharedkey)(?:\s+"
    r"|%20|\+)"
)
_HEADER_VALUE = re.compile(r"[^\"'\n\\]*")
_HEADERS = words("authorization proxy-authorization cookie set-cookie")
_DOUBT = re.compile(
    r"(?i)(?:unexpected|invalid|bad|unknown|missing|expected|near|illegal|unterminated)\s$"
)
_WORD = re.compile(r"[a-z]+(?![\w\-])|\d+(?!\w)")
_NUMBER = re.compile(r"\d+(?!\S)")
_STRING = re.compile(r"(\\{0,7}[\"'])((?:(?!\1).)*?)\1(\s{0,4}[:=])?", re.DOTALL)
_BENIGN = words(
    "user username login host hostname name type database db dbname schema account port url"
    " uri region role warehouse driver"
    " provider client_id clientid email project project_id server"
)
_IN_NAME = re.compile(
    r"(?<![A-Za-z0-9])((?:[A-Za-z]{1,16}[_\-]){0,2}(?:secret|password|passwd|token|key"
    r"|apikey)[_\-.])([A-Za-z0-9]{8,256}+)(?![A-Za-z0-9])",
    re.IGNORECASE,
)

NESTED = 8  # containers within containers; deeper ones are read as any other text
CONTAINERS_LENGTH = 8192  # of one text, together; what is in further ones is read as any other text


def scan(
    text: str,
    mark: Mark,
    *,
    whole: bool = False,
    script: bool = False,
    path: bool = False,
    cut: bool = False,
    random: bool = True,
) -> str:
    """The text without its secrets.

    `whole`: the text is one argument; in `NAME=value`, the value extends to its end. `script`:
    `$name` is a variable. `path`: components end at `/`. `cut`: the text may lack its end.
    `random`: a random run is a token of an unknown issuer.
    """
    text = WEBHOOKS.sub(lambda m: next(g for g in m.groups() if g) + mark("url"), text)
    if ":" in text or "%40" in text:
        text = without_userinfo(text, mark, path=path, cut=cut)
    text = TOKENS.sub(lambda _: mark("shape"), text)
    if cut:
        text = CUT_TOKEN.sub(lambda _: mark("shape"), text)
    if random and len(text) >= 20:
        text = without_random(text, mark, path=path)
    text = _pairs(text, mark, whole=whole, script=script, path=path)
    if path:  # token_VALUE.json: a name of a file has no room for `=`
        text = _IN_NAME.sub(
            lambda m: m[1] + mark("value") if secrecy(m[1]) >= STRONG and _is_named(m[2]) else m[0],
            text,
        )
    text = BEARER.sub(
        lambda m: m[0] if is_reference(m[3]) else f"{m[1]}{m[2]}{mark('bearer')}", text
    )
    return phrases(text, mark)


def _is_named(value: str) -> bool:
    """A secret in the name of a file: not a hash, and not the random end of a pod's name."""
    mixed = not value.islower() and not value.isupper() and not value.isalpha()
    return looks_random(value, 8 if mixed else 12)


def _level(text: str, found: re.Match[str]) -> int:
    """How surely the value of a pair is a secret, by its name and its surroundings; 0: not at
    all."""
    name, at = found[1], found.end()
    level = secrecy(name)
    if not level or text.startswith(("//", ":"), at) or at >= len(text):
        return 0
    if level < STRONG and "x-" not in name and found[3].strip() == "==":
        return 0
    if not found[2] and text[found.start() - 1 : found.start()] == text[at] in "\"'":
        return 0  # "password:", a prompt
    if _is_expansion(text, found):  # ${PASSWORD:?is not set}
        return 0
    if ":" in found[3] and _DOUBT.search(text, max(0, found.start() - 16), found.start()):
        level = WEAK
    if found[3] == ":" and not found[2]:  # a:b:c: keys of stores, names of resources
        if text[found.start() - 1 : found.start()] == ":" or _NUMBER.match(text, at):
            return 0
        level = min(level, WEAK) if level < STRONG else level
        if name.lower().endswith("token") and _WORD.match(text, at):
            return 0  # token:count, a key of a store
    return level


def _pairs(text: str, mark: Mark, *, whole: bool, script: bool, path: bool, nested: int = 0) -> str:
    out: list[str] = []
    kept = at = spent = 0
    while found := _PAIR.search(text, at):
        at = found.end()
        name = found[1]
        level = _level(text, found)
        if not level:
            continue
        span = _value(
            text,
            found,
            level,
            whole=whole and found.start() == 0,
            path=path,
            containers=spent <= CONTAINERS_LENGTH and nested < NESTED,
        )
        if span is None:
            continue
        start, end, opened, schemed = span
        if schemed:
            level = STRONG
        if opened:  # a list, an object, a tuple: its elements
            spent += end - start
            body = text[start:end]
            replaced = _inside(body, opened, level, name, mark, nested=nested)
            if replaced is None:
                continue
            out += [text[kept:start], replaced]
            kept = at = end
            continue
        value = text[start:end]
        if value.startswith(MARK):
            at = text.find("]", start) + 1 or end
            continue
        query = text[found.start() - 1 : found.start()] in ("?", "&") and found[3] == "="
        if name.lower().strip("-").endswith("code") and level == WEAK and not query:
            continue  # service-code: a code is a secret in URLs only
        quoted = name == "key" and text[start - 1] in "\"'"
        digest = level == WEAK and (query or quoted or name.isupper()) and DIGEST.match(value)
        if digest or is_secret(value, level, path_key=is_path_key(name), script=script):
            out += [text[kept:start], mark(_rule(found))]
            kept = at = end
    out.append(text[kept:])
    return "".join(out)


def _is_expansion(text: str, found: re.Match[str]) -> bool:
    """A shell's `${NAME:?message}`. What follows `:-` and `:=` is a value."""
    at = found.start()
    return text[max(0, at - 2) : at] == "${" and text[found.end() : found.end() + 1] in ("?", "+")


def _rule(found: re.Match[str]) -> str:
    return "header" if _is_header(found) else "value"


def _is_header(found: re.Match[str]) -> bool:
    return ":" in found[3] and found[1].lower() in _HEADERS


def _value(
    text: str, found: re.Match[str], level: int, *, whole: bool, path: bool, containers: bool
) -> tuple[int, int, str, bool] | None:
    """The place of the value, its opening bracket, if any, and whether `Bearer` or the like
    precedes it.
    """
    at = found.end()
    if _is_header(found) and not _OPENING.match(text, at):
        if scheme := _SCHEME.match(text, at):
            at = scheme.end()
        # the pattern matches the empty string
        end = _HEADER_VALUE.match(text, at).end()  # type: ignore[union-attr]
        return (at, end, "", scheme is not None) if end > at else None
    opening = _OPENING.match(text, at)
    if opening:
        start = opening.end()
        end = closing(text, opening[1], start)
        if scheme := _SCHEME.match(text, start):
            start = min(scheme.end(), end)
        return start, end, "", scheme is not None
    if containers and text[at] in "[{(" and not text.startswith(MARK, at):
        return at, _bracket_end(text, at), text[at], False
    if scheme := _SCHEME.match(text, at):
        at = scheme.end()
    bare = (_PATH_BARE if path else _BARE).match(text, at)
    if whole and level >= MEDIUM and not (bare and (is_path(bare[0]) or is_reference(bare[0]))):
        return at, len(text), "", scheme is not None
    return (at, bare.end(), "", scheme is not None) if bare else None


def _bracket_end(text: str, at: int) -> int:
    """The place after the bracket that closes the one at `at`; the end of the text if none does."""
    depth, quote = 0, ""
    for index in range(at, min(len(text), at + 8192)):
        char = text[index]
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char in "[{(":
            depth += 1
        elif char in "]})":
            depth -= 1
            if not depth:
                return index + 1
    return len(text)


def _inside(
    body: str, opened: str, level: int, name: str, mark: Mark, *, nested: int
) -> str | None:
    """A container after a name that announces a secret. None: it is read as plain text."""
    if '"' not in body and "'" not in body:
        plain = level >= STRONG and opened == "{" and not re.search(r"[:=]", body) and len(body) > 2
        return "{" + mark("value") + "}" if plain else None  # ODBC's form of quoting
    if level < MEDIUM or (opened == "{" and level < STRONG and "cred" not in name.lower()):
        return None
    out, kept, key, first = [], 0, "", True
    body = _pairs(body, mark, whole=False, script=False, path=False, nested=nested + 1)
    for found in _STRING.finditer(body):
        if found[3]:
            key = found[2].lower()
            continue
        skip = key in _BENIGN or (opened == "(" and first)  # ('user', 'password')
        first = False
        if not skip and MARK not in found[2] and not is_reference(found[2]):
            out += [body[kept : found.start(2)], mark("value")]
            kept = found.end(2)
        key = ""
    return "".join(out) + body[kept:]


__all__ = ["Mark", "looks_random", "scan"]
