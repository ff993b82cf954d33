"""Checks the endpoints and headers of the environment before the first request; never repairs them.

A value that a transport would refuse with every request (a header value with a line feed, a port of
99999) is refused once, at start. No message quotes a header's value or the user part of a URL: both
are secrets.
"""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import SplitResult, unquote, urlsplit

from receiver.errors import ConfigError

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_METADATA = re.compile(r"[0-9a-z_.-]+")  # gRPC over HTTP/2, "Custom-Metadata"
_UNSAFE_VALUE = re.compile(r"[^\x20-\x7e]")
_UNSAFE_URL = re.compile(r"[^\x21-\x7e]")
_AUTHORITY = re.compile(r"(.*?)(?::([^:\]]*))?")  # the colons of an IPv6 address are in brackets
_HOST = re.compile(r"\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[A-Za-z0-9_.-]+")
# The transports write these: they frame the message or belong to one connection (RFC 9110, 7.6.1
# and 8; RFC 9113, 8.2.2).
_RESERVED = {
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
_LIMIT = 8192  # bytes of a name and its value: the usual limit of servers for one header

Header = tuple[str, str | bytes]  # bytes: binary metadata of gRPC


def headers(variable: str, value: str, *, grpc: bool) -> tuple[Header, ...]:
    """`name=value,name2=value2`, percent-encoded.

    An empty entry, or one without a name or `=`, is left out with a warning by the caller. Any
    other entry that cannot be sent raises ConfigError.
    """
    out: list[Header] = []
    for pair in value.split(","):
        name, equals, content = pair.partition("=")
        name, content = unquote(name.strip()), unquote(content.strip())
        if equals and name:
            out.append(_header(variable, name.lower() if grpc else name, content, grpc=grpc))
    return tuple(out)


def incomplete(value: str) -> int:
    """The number of entries without a name or without `=`."""
    pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
    return sum(not equals or not name.strip() for name, equals, _ in pairs)


def _header(variable: str, name: str, content: str, *, grpc: bool) -> Header:
    shown = ascii(name[:64])[1:-1]
    if not (_METADATA if grpc else _TOKEN).fullmatch(name):
        raise ConfigError(
            f"{variable}: {shown} is not a header name: use letters, digits, and - . _"
        )
    if name.lower() in _RESERVED or (grpc and name.startswith("grpc-")):
        raise ConfigError(f"{variable}: the header {shown} is set by the exporter: remove it")
    if bad := _UNSAFE_VALUE.search(content):
        where = f"U+{ord(bad[0]):04X} at position {bad.start() + 1} of {len(content)}"
        raise ConfigError(
            f"{variable}: the value of {shown} contains a character that a header must not contain "
            f"({where})"
        )
    if len(name) + len(content) > _LIMIT:
        raise ConfigError(f"{variable}: the value of {shown} is longer than {_LIMIT} bytes")
    if grpc and name.endswith("-bin"):
        try:  # binary metadata is sent in base64; grpcio wants the bytes, and padding is optional
            return name, base64.b64decode(content + "=" * (-len(content) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise ConfigError(
                f"{variable}: the value of {shown} must be base64, because the name ends in -bin"
            ) from None
    return name, content


def http_url(variable: str, endpoint: str) -> SplitResult:
    """A URL that aiohttp can post to."""
    parts = _split(variable, endpoint)
    if parts.scheme not in ("http", "https"):
        raise ConfigError(
            f"{variable}={_shown(endpoint)}: must be a URL such as http://localhost:4318"
        )
    _authority(variable, endpoint, parts)
    if parts.fragment:
        raise ConfigError(f"{variable}={_shown(endpoint)}: remove the #fragment from the URL")
    return parts


def grpc_target(variable: str, endpoint: str) -> tuple[str, str]:
    """`host:port`, and the scheme if there is one."""
    if "://" in endpoint:
        parts = _split(variable, endpoint)
        if parts.scheme not in ("http", "https"):
            raise ConfigError(f"{variable}={_shown(endpoint)}: the scheme must be http or https")
        _authority(variable, endpoint, parts)
        return parts.netloc, parts.scheme
    parts = _split(variable, "//" + endpoint)
    _authority(variable, endpoint, parts)
    return parts.netloc, ""


def _split(variable: str, endpoint: str) -> SplitResult:
    if _UNSAFE_URL.search(endpoint):  # urlsplit would remove tabs and line ends silently
        raise ConfigError(
            f"{variable}: the URL contains a space, a control character or a character that is not "
            "ASCII"
        )
    try:
        return urlsplit(endpoint)
    except ValueError:
        raise ConfigError(f"{variable}={_shown(endpoint)}: is not a URL") from None


def _authority(variable: str, endpoint: str, parts: SplitResult) -> None:
    if "@" in parts.netloc:
        raise ConfigError(
            f"{variable}: put the user and the password into OTEL_EXPORTER_OTLP_HEADERS, not into "
            "the URL"
        )
    host, port = _AUTHORITY.fullmatch(parts.netloc).groups()  # type: ignore[union-attr]
    if not _HOST.fullmatch(host):
        raise ConfigError(f"{variable}={_shown(endpoint)}: has no host")
    if port is not None and not (port.isdigit() and 1 <= int(port[:6]) <= 65_535):
        raise ConfigError(f"{variable}={_shown(endpoint)}: the port must be from 1 to 65535")


def _shown(endpoint: str) -> str:
    """Without the parts that may be secret: the user part and the query."""
    text = re.sub(r"//[^/@]*@", "//", endpoint.partition("?")[0])
    return text[:200]
