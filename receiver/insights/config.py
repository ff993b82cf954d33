"""`[insights]` of kwitness.toml."""

from __future__ import annotations

import msgspec


class InsightsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where OTLP comes in, as address:port; empty switches it off. With a certificate it is TLS, with `client_ca` mutual TLS."""

    grpc: str = "127.0.0.1:14317"
    http: str = "127.0.0.1:14318"
    certificate: str = ""
    key: str = ""
    client_ca: str = ""
