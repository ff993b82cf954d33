"""Secrets that neither `=` nor `:` announces: calls of functions, SQL, lines of password files,
dialogues, and random values after a word that announces a secret.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from receiver.text.redact.names import STRONG, secrecy
from receiver.text.redact.values import MARK, is_reference, looks_random

_OPENING = re.compile(r"[bBrRuUfFnN@$]{0,2}(\\{0,7}[\"'`])")
_BARE = re.compile(r"[^\s\"'`&;,)}\]<>|]+")
# {"name": "DB_PASSWORD", "value": "…"} of Kubernetes and ECS,
# ParameterKey=DBPassword,ParameterValue=… of CloudFormation, a JSON patch's path and value
_NAMED = re.compile(
    r"(?i)(?<!\w)(?:name|key|parameterkey|variable|path"
    r"|optionname)\\{0,7}[\"']?\s{0,4}[:=]\s{0,4}\\{0,7}[\"']?([\w.\-/]{1,128})\\{0,7}[\"']?"
    r"\s{0,4},\s{0,4}\\{0,7}[\"']?(?:value|parametervalue|val|stringvalue"
    r"|optionvalue)\\{0,7}[\"']?\s{0,4}[:=]\s{0,4}"
)
_CALLED = re.compile(
    r"(?i)(?<![A-Za-z])(?:set|put|add|get|env|store|write|config|option|header|param|property"
    r"|prop|with|field|attr|secret|var)\w{0,24}"
    r"\(\s{0,4}([\"'])([\w.\-]{1,128})\1\s{0,4},\s{0,4}(?=[\"'])"
)
_SETTING = re.compile(
    r"((?<![\w.\-])[\w.\-]++\s{0,4})([\"'])((?:(?!\2)\S){1,4096}+)\2;"
)  # nginx and others: NAME "VALUE";
# connect("host", "user", "password"), login("user", "password"), [NetworkCredential]::new(…)
_LOGIN_CALL = re.compile(
    r"(?i)(?<![A-Za-z])(?P<name>\w{0,16}connect(?:ion)?|newinstance|mysqli|pdo|ftp(?:_tls)?|login"
    r"|authenticate|\w{0,16}auth|\w{0,24}credentials?|set_?password|\w{0,16}userpassword"
    r"|create_?(?:super)?user|plainauthprovider|basic|pgp_sym_\w{2,8}crypt|aes_\w{2,8}crypt"
    r"|encrypt\w{0,16}|decrypt\w{0,16}|postgresql|mysql|mongodb|remote(?:secure)?)(?:\]?::new)?\("
    r"(?=\s{0,4}[\w\"'\\$])"
)
_FIFTH = re.compile(r"(?i)postgresql|mysql$|mongodb|remote")
_FIRST = re.compile(r"(?i)\w*bypassphrase")
_THIRD = re.compile(r"(?i)connect|newinstance|mysqli|pdo|ftp|set_?password|create|pscredential$")
# the first argument is the secret
_KEY_CALL = re.compile(
    r"(?i)(?<![A-Za-z])(?:set_?p(?:w|wd|ass|asswd|assword)|password|old_password|make_password"
    r"|passwd|hashpw|generate_password_hash|fernet"
    r"|hmac\.new|(?:aes|arc4|chacha20|des3)\.new|secretstr)\(\s{0,4}(?=[bBuUrR]?[\"'])"
)
_LITERALS = re.compile(
    r"\s{0,4}[bBrRuUfF]?(?:\"((?:[^\"\\]|\\.){0,512})\"|'((?:[^'\\]|\\.){0,512})'"
    r"|[\w.\[\]$]{1,64}|\\{1,7}\"([^\"\\]{0,512})\\{1,7}\")\s{0,4}(,|\))"
)
_SQL = re.compile(
    r"(?i)\b((?:password|passwd|identified\s{1,4}by|identified\s{1,4}by\s{1,4}password"
    r"|secret)\s{1,4}"
    r"|password\s{1,4}for\s{1,4}\S{1,128}\s{0,4}=\s{0,4})'((?:[^']|'')*)'"
)
_IDENTIFIED = re.compile(
    r"(?i)\bidentified\s{1,4}(?:with\s{1,4}\w{1,64}\s{1,4})?by\s{1,4}(?:values\s{1,4})?"
    r"(?!password\b|values\b|replace\b)"
)
_REPLACED = re.compile(r"(?i)\bidentified\s{1,4}by\s{1,4}\S{1,256}\s{1,4}replace\s{1,4}")
_SET_TO = re.compile(r"(?i)(?<![\w.\-])set\s{1,4}([\w.@\-]{1,128})\s{1,4}to\s{1,4}")
_REQUIRED = re.compile(r"(?i)(?<![\w\-])(?:requirepass|masterauth|set\s{1,4}api_?key)\s{1,4}")
_SECURE_STRING = re.compile(r"(?i)ConvertTo-SecureString\s{1,4}(?:-String\s{1,4})?(?![\-$])")
# SECRET_ACCESS_KEY '…' in SQL and in configuration files
_NAME_STRING = re.compile(r"(?<![\w.\-\"'])([A-Za-z_][\w.]{1,64})\s{1,4}(?=[Nn]?[\"'])")
# sed's s|__PASSWORD__|…|
_PLACEHOLDER = re.compile(
    r"(?<![A-Za-z0-9])s([|/#,!@~])[_{<@%$\[]{1,4}\s?([\w.\-]{1,64})\s?[_}>@%$\]]{0,4}\1((?:"
    r"(?!\1).){1,256})\1"
)
_DOUBT = re.compile(
    r"(?i)(?:unexpected|invalid|bad|unknown|missing|expected|near|illegal|column)\s$"
)
# EXEC sp_addlogin 'user', 'password'
_PROCEDURE = re.compile(
    r"(?i)\bsp_(?:addlogin|password|addremotelogin|change_password)\s{1,4}(?:@\w+\s?=\s?)?"
    r"(?:N?'[^']{0,128}'|null)\s{0,4},\s{0,4}(?:@\w+\s?=\s?)?N?(?=')"
)
_QUERY = re.compile(
    r"(?i)([?&]u(?:ser(?:name)?)?=[^&\s]{1,128}&p=|[?&]p=(?=[^&\s]{1,128}&u(?:ser)?=))"
    r"([^&\s\"']{4,256})"
)
# connect to d user u using p; userid u, password p; machine h login u password p (netrc)
_USER_THEN = re.compile(
    r"(?i)(?:\b|(?<=\\n))(?:user(?:name|id)?|login|account)\s{1,4}(?!or\b|and\b"
    r"|name\b)[\"']?[\w.@$#\-]{1,64}[\"']?"
    r",?(?:\s|\\n){1,4}(?:using|password|passwd)\s{1,4}(?![\"']?(?:is|was|were|are|has|had|not"
    r"|must|for|and"
    r"|or|authentication|required|expired|auth|file|prompt|in|from|to|with|by|on|as)\b)"
)
# <password>…</password>
_ELEMENT = re.compile(r"<([\w.:\-]{1,64})(?:\s[^<>]{0,128})?>\s{0,16}([^<>\s]{1,512})\s{0,16}</")
# the dialogue of ftp and telnet, and OrientDB's connect URL USER PASSWORD
_DIALOGUE = re.compile(
    r"(?im)(?:^|;\s{0,4}|[\"']\s{0,4})(?:quote\s{1,4})?(?:pass\s{1,4}"
    r"|user\s{1,4}[\w.@\-]{1,64}\s{1,4}"
    r"(?=[^\s;]{0,64}[\d!#$%*+])|connect\s{1,4}\w{1,16}:\S{1,128}\s{1,4}[\w.@\-]{1,64}\s{1,4})"
    r"([^\s;\"']{4,256})(?=\s{0,4}(?:$|;))"
)
_VARIABLE = re.compile(r"=([\w.\-]{1,64}),([^,\s]{1,256}),String\b")  # KNIME
# host:port:database:user:password (~/.pgpass)
_PGPASS = re.compile(
    r"(?<![\w.\-:*])((?:[\w.\-]{1,128}[A-Za-z.][\w.\-]*|\*|\w{1,64}):(?:\d{2,5}|\*):[\w\-*]{1,64}"
    r":(?![\da-f]{2}:)[A-Za-z*][\w.\-]{0,64}:)((?:[^\s:\"'\\]|\\.){4,256}+)(?!:)"
)
_ORACLE = re.compile(
    r"(?i)(\b(?:conn(?:ect)?|userid|dsn|logon|connect_?string)(?:\s{1,4}|\s{0,4}[="
    r"(]\s{0,4}[\"']?)[\w$#]{1,64}/)((?!nolog\b)[^@/\s\"']{1,128}|\"[^\"]{1,128}\")(?=@|\s|;"
    r"|[\"']|$)"
)
_ASKED = re.compile(r"(?i)assword|assphrase|\bpin\b|asscode|token")
_SENT = re.compile(r"\bsend\s{1,4}(?:--\s{1,4})?(\\{0,7}[\"{])(?!\$)([^\"{}\\]{1,256})")
_WORD_THEN = re.compile(
    r"(?i)(?<![\w.\-/])(password|passwd|passphrase|secret|token|key)\s{1,4}(?:(?:is|was|of"
    r"|for)\s{1,4})?"
    r"[\"'`]?([\w+/=\-]{10,512})(?![\w+/=\-.:(])"
)
_LABEL = re.compile(r"[a-z][a-z0-9.\-/]*$")
_CASES = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*\d)", re.DOTALL)
# an AWS access key's id, and the secret right behind it, also after the mark that replaced the id
_PAIR_OF_KEYS = re.compile(
    r"(?:(?:AKIA|ASIA)[0-9A-Z]{16}|\[redacted:shape\])[\"']?(?:\s{0,4}[,:;/]\s{0,4}|\s{1,4})[\"']?"
    r"([A-Za-z0-9/+]{30,64})(?![A-Za-z0-9/+=])"
)


def phrases(text: str, mark: Callable[[str], str]) -> str:
    """The text without the secrets that a phrase announces."""
    lowered = text.lower()
    quoted = "'" in text or '"' in text
    if quoted or "," in text:
        text = _after(_NAMED, 1, text, mark)
    if quoted:
        text = _quoted(text, lowered, mark)
    text = _statements(text, lowered, mark)
    if "[redacted:shape]" in text or "AKIA" in text or "ASIA" in text:
        text = _PAIR_OF_KEYS.sub(lambda m: _with(m, 1, mark), text)
    if text.count(":") >= 4:
        text = _PGPASS.sub(lambda m: _with(m, 2, mark), text)
    return _WORD_THEN.sub(
        lambda m: _with(m, 2, mark) if _CASES.match(m[2]) and looks_random(m[2], 10) else m[0],
        text,
    )


def _with(found: re.Match[str], group: int, mark: Callable[[str], str]) -> str:
    """The match with a mark for its group."""
    value = found[group]
    if MARK in value or is_reference(value):
        return found[0]
    start, end = (at - found.start() for at in found.span(group))
    return found[0][:start] + mark("value") + found[0][end:]


def _is_asked(found: re.Match[str]) -> bool:
    """Whether the last prompt before it asks for a secret."""
    start = max(0, found.string.rfind("expect", 0, found.start()), found.start() - 512)
    return _ASKED.search(found.string, start, found.start()) is not None


def _quoted(text: str, lowered: str, mark: Callable[[str], str]) -> str:
    """Secrets in quotes."""
    if "(" in text:
        text = _after(_CALLED, 2, text, mark)
        text = _after(_KEY_CALL, 0, text, mark)
        text = _calls(text, mark)
    text = _after(_NAME_STRING, 1, text, mark)
    if ";" in text:
        text = _SETTING.sub(
            lambda m: m[0] if secrecy(m[1].strip()) < STRONG else _with(m, 3, mark), text
        )
    if "send" in lowered and _ASKED.search(text):
        text = _SENT.sub(lambda m: _with(m, 2, mark) if _is_asked(m) else m[0], text)
    return _SQL.sub(lambda m: _with(m, 2, mark), text)


def _statements(text: str, lowered: str, mark: Callable[[str], str]) -> str:
    """Statements of SQL and of command languages, with or without quotes."""
    if "identified" in lowered:
        text = _after(_REPLACED, 0, text, mark)
        text = _after(_IDENTIFIED, 0, text, mark)
    if "requirepass" in lowered or "masterauth" in lowered or "set api" in lowered:
        text = _after(_REQUIRED, 0, text, mark)
    if "convertto-securestring" in lowered:
        text = _after(_SECURE_STRING, 0, text, mark)
    if "s|" in text or "s/" in text or "s#" in text or "s," in text:
        text = _PLACEHOLDER.sub(
            lambda m: _with(m, 3, mark) if secrecy(m[2].strip("_")) >= STRONG else m[0], text
        )
    if " to " in lowered and "set" in lowered:
        text = _after(_SET_TO, 1, text, mark)
    if "user" in lowered or "login" in lowered or "account" in lowered:
        text = _after(_USER_THEN, 0, text, mark)
    if "</" in text:
        text = _ELEMENT.sub(lambda m: _with(m, 2, mark) if secrecy(m[1]) >= STRONG else m[0], text)
    if "pass " in lowered or "user " in lowered or "connect " in lowered:
        text = _DIALOGUE.sub(lambda m: _with(m, 1, mark), text)
    if ",String" in text:
        text = _VARIABLE.sub(lambda m: _with(m, 2, mark) if secrecy(m[1]) >= STRONG else m[0], text)
    if "sp_" in lowered:
        text = _after(_PROCEDURE, 0, text, mark)
    if "p=" in lowered:
        text = _QUERY.sub(lambda m: m[0] if m[2].isdigit() else _with(m, 2, mark), text)
    if "conn" in lowered:
        text = _ORACLE.sub(lambda m: _with(m, 2, mark), text)
    return text


def _calls(text: str, mark: Callable[[str], str]) -> str:
    """The secret among the literal arguments of a call that logs in."""
    out: list[str] = []
    kept = at = 0
    while found := _LOGIN_CALL.search(text, at):
        at = found.end()
        places: list[tuple[int, int]] = []
        while len(places) < 8 and (argument := _LITERALS.match(text, at)):
            at = argument.end()
            group = next((g for g in (1, 2, 3) if argument[g] is not None), 0)
            places.append(argument.span(group) if group else (at, at))
            if argument[4] == ")":
                break
        place = _place(found["name"], len(places))
        both = len(places) == 3 and found["name"].lower() == "connect"  # user, password, database
        for start, end in places[place - both : place + 1]:
            value = text[start:end]
            if value and MARK not in value and "://" not in value and not is_reference(value):
                out += [text[kept:start], mark("value")]
                kept = end
    out.append(text[kept:])
    return "".join(out)


def _place(name: str, count: int) -> int:
    """Which argument of such a call is the secret."""
    if _FIRST.match(name):
        return 0
    if _FIFTH.match(name):
        return 4
    if name.lower().endswith("credentials") and count > 2:
        return count - 1
    return 2 if _THIRD.search(name) and count > 2 else 1


def _after(pattern: re.Pattern[str], group: int, text: str, mark: Callable[[str], str]) -> str:
    """A mark for each string or word behind the pattern, whose group is the name, if
    any."""
    out: list[str] = []
    kept = at = 0
    while found := pattern.search(text, at):
        at = found.end()
        if group and secrecy(found[group].replace("/", ".")) < STRONG:
            continue
        if _DOUBT.search(text, max(0, found.start() - 16), found.start()):
            continue
        opening = _OPENING.match(text, at)
        if opening:
            start, end = opening.end(), closing(text, opening[1], opening.end())
        else:
            bare = _BARE.match(text, at)
            if not bare:
                continue
            start, end = at, bare.end()
        if is_reference(text[start:end]) or text.startswith(MARK, start):
            continue
        if group and found[group] in ("secret", "token") and _LABEL.match(text[start:end]):
            continue  # secret "db-creds" not found
        out += [text[kept:start], mark("value")]
        kept = at = end
    out.append(text[kept:])
    return "".join(out)


def closing(text: str, delimiter: str, start: int) -> int:
    """The end of a string with this delimiter (a quote, and the backslashes before it); the end of
    the text if it is not closed.
    """
    at = start
    while (at := text.find(delimiter, at)) >= 0:
        if at == start or text[at - 1] != "\\":
            return at
        at += len(delimiter)
    return len(text)


__all__ = ["closing", "phrases"]
