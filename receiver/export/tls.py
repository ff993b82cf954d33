"""Certificates and keys of the exporters, read and checked once at the start, before privileges are
dropped.
"""

from __future__ import annotations

import ssl

import msgspec

from receiver.errors import ConfigError
from receiver.export.options import PREFIX, OtlpSettings
from receiver.safe.inputs import read_file
from receiver.units import MIB

_LIMIT = MIB


class Material(msgspec.Struct, frozen=True):
    """The bytes of the three files; None for a file that is not set."""

    authority: bytes | None
    chain: bytes | None
    key: bytes | None


def material(settings: OtlpSettings) -> Material:
    """Raises ConfigError for a file that is missing, unreadable, or not a regular file."""

    def read(path: str, name: str) -> bytes | None:
        return read_file(path, _LIMIT, PREFIX + name) if path else None

    if settings.client_key and not settings.client_certificate:
        raise ConfigError(f"{PREFIX}CLIENT_KEY is set without {PREFIX}CLIENT_CERTIFICATE")
    return Material(
        read(settings.certificate, "CERTIFICATE"),
        read(settings.client_certificate, "CLIENT_CERTIFICATE"),
        read(settings.client_key, "CLIENT_KEY"),
    )


def context(settings: OtlpSettings) -> ssl.SSLContext:
    """The context for HTTP, and the check for gRPC: grpcio accepts any bytes, and then every
    connection fails. Raises ConfigError.
    """
    found = material(settings)
    try:
        made = ssl.create_default_context(
            cadata=found.authority.decode("ascii") if found.authority is not None else None
        )
    except (ssl.SSLError, ValueError):
        raise ConfigError(f"{PREFIX}CERTIFICATE holds no certificate in PEM") from None
    if found.chain is not None:
        try:  # an encrypted key would make OpenSSL ask the terminal for its password
            made.load_cert_chain(
                settings.client_certificate, settings.client_key or None, password=lambda: ""
            )
        except (ssl.SSLError, OSError, ValueError):
            both = f"{PREFIX}CLIENT_CERTIFICATE and {PREFIX}CLIENT_KEY"
            raise ConfigError(
                f"{both} are not a certificate and its own unencrypted key, both in PEM"
            ) from None
    return made
