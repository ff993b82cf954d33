"""The section `[insights]` of kwitness.toml."""

from __future__ import annotations

import msgspec


class InsightsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The addresses (address:port) on which OTLP is received.

    An empty address switches the listener off. A certificate enables TLS, and `client_ca` enables
    mutual TLS.
    """

    grpc: str = "127.0.0.1:14317"
    http: str = "127.0.0.1:14318"
    certificate: str = ""
    key: str = ""
    client_ca: str = ""
