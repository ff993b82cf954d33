"""The user information of URLs, and of connection strings of the same form (RFC 3986, 3.2.1;
Oracle's user/password@database).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from receiver.text.printable import words
from receiver.text.redact.values import MARK, is_reference, looks_random

# one scheme or several: k8s://https://…
_URL = re.compile(r"(?<![\w+.\-])((?:[A-Za-z][\w+.\-]*+:(?://)?){1,6}(?<=//))([^\s\"'`<>\\]*)")
# file names
_PATH_URL = re.compile(r"(?<![\w+.\-])((?:[A-Za-z][\w+.\-]*+:){1,3}(?://?|__))([^\s\"'`<>\\]*)")
_AUTHORITY = re.compile(r"[^/?#]*")
_PORTS = re.compile(r"(?::?\d{0,5}(?:,[^,]*)*|\*|[^:]*\]:\d+)[\])};,.]{0,3}$")
_ORACLE = re.compile(r"(?i)(jdbc:oracle:\w{2,8}:)([\w$#]{1,64})/([^@\s\"']{1,256})@")
_BARE = re.compile(
    r"(?<![\w+.\-/:@\\\[])((?:\w{1,16}:)?[\w.\\\-]{1,64}):([^\s@\"'/:,]{4,256})@(?!sha256:)"
    r"(?=[A-Za-z0-9\[])"
)
_PATH_BARE = re.compile(_BARE.pattern.replace("/:@", ":@", 1))  # a component of a path
# the form in which variables hold URLs (W3C Baggage percent-encodes values), and files named after
# them
_ENCODED = re.compile(
    r"(?i)(%3A%2F%2F(?:(?!%3A|%40|%2F)[\w.~%+\-]){0,64}%3A)((?:(?!%40|%2F|%3A)[\w.~%+\-]){1,256})"
    r"(?=%40)"
)
_SCHEMES = words("mailto sip sips acct arn urn tel im xmpp file")
_IMAGES = words(
    "docker oci container image docker-daemon docker-archive containers-storage maven npm pkg"
)
_LOGIN = re.compile(r"(\[redacted:\w+\]|[^:]*)(:?)(.*)", re.DOTALL)
_HEX_USER = re.compile(r"[0-9a-f]{32,64}$")


def without_userinfo(
    text: str, mark: Callable[[str], str], *, path: bool = False, cut: bool = False
) -> str:
    """The text, with a mark for each password (or token) before an `@`."""

    def url(found: re.Match[str]) -> str:
        scheme, rest = found[1], found[2]
        return scheme + _of_rest(scheme, rest, mark, cut=cut and found.end() == len(text))

    if "%40" in text:
        text = _ENCODED.sub(lambda m: f"{m[1]}{mark('url')}", text)
    if "/" in text or "__" in text:
        text = (_PATH_URL if path else _URL).sub(url, text)
        text = _ORACLE.sub(
            lambda m: m[0] if m[3].startswith(MARK) else f"{m[1]}{m[2]}/{mark('url')}@", text
        )
    if "@" in text:
        text = (_PATH_BARE if path else _BARE).sub(
            lambda m: m[0] if _is_no_login(m) else f"{m[1]}:{mark('url')}@", text
        )
    return text


def _is_no_login(found: re.Match[str]) -> bool:
    return (
        found[1].lower().partition(":")[0] in _SCHEMES
        or found[2].isdigit()
        or found[2].startswith(MARK)
        or is_reference(found[2])
        or found[1].isdigit()
    )


def _of_rest(scheme: str, rest: str, mark: Callable[[str], str], *, cut: bool) -> str:
    authority = _AUTHORITY.match(rest)[0]  # type: ignore[index]  # it matches the empty string
    if "@" in authority:
        at = authority.rindex("@")
    else:
        # a password may hold characters that end an authority: then an `@` follows, and no port
        # precedes it
        authority = authority.partition(";")[0]  # jdbc:sqlserver://host;user=…
        _, colon, port = authority.partition(":")
        if not colon or authority.startswith("[") or _PORTS.match(port):
            return rest
        at = rest.split("?", 1)[0].rfind("@")
        if at < 0:
            name = authority.partition(":")[0]
            if not cut or scheme.split(":")[0].lower() in _IMAGES or "/" in rest:
                return rest
            return f"{name}:{mark('url')}"
    login, host = rest[:at], rest[at:]
    # the pattern matches the empty string
    name, colon, password = _LOGIN.match(login).groups()  # type: ignore[union-attr]
    if host.startswith("@sha256:"):
        return rest
    if password:
        is_none = is_reference(password) or password.startswith(MARK)
        return rest if is_none else f"{name}:{mark('url')}{host}"
    return (
        f"{mark('url')}{colon}{host}" if _HEX_USER.match(name) or looks_random(name, 16) else rest
    )
