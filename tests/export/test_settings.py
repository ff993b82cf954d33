"""OTEL_* variables, by the letter of the specification."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import trustme

from receiver.errors import ConfigError
from receiver.export.otlp_grpc import GrpcTransport
from receiver.export.otlp_http import HttpTransport
from receiver.export.settings import asks_for_export, from_environment
from tests.export.variables import E


def test_defaults() -> None:
    settings = from_environment({})
    logs = settings.otlp["logs"]
    assert (logs.protocol, logs.endpoint, logs.tls) == (
        "http/protobuf",
        "http://localhost:4318/v1/logs",
        False,
    )
    assert (logs.timeout_seconds, logs.gzip) == (10.0, False)
    assert settings.exporters == {"traces": ("otlp",), "metrics": ("otlp",), "logs": ("otlp",)}
    assert settings.batches["traces"].delay_seconds == 5.0
    assert settings.batches["logs"].delay_seconds == 1.0
    assert settings.metric_interval_seconds == 60.0


@pytest.mark.parametrize(
    ("variables", "endpoint", "tls"),
    [
        ({E + "ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces", False),
        ({E + "ENDPOINT": "http://c:4318/base/"}, "http://c:4318/base/v1/traces", False),
        ({E + "TRACES_ENDPOINT": "http://c:4318"}, "http://c:4318/", False),
        (
            {E + "TRACES_ENDPOINT": "https://c/own", E + "ENDPOINT": "http://x"},
            "https://c/own",
            True,
        ),
        ({E + "PROTOCOL": "grpc"}, "localhost:4317", False),
        ({E + "PROTOCOL": "grpc", E + "ENDPOINT": "https://c:4317"}, "c:4317", True),
        ({E + "PROTOCOL": "grpc", E + "ENDPOINT": "c:4317"}, "c:4317", True),
        (
            {E + "PROTOCOL": "grpc", E + "ENDPOINT": "c:4317", E + "INSECURE": "true"},
            "c:4317",
            False,
        ),
        (
            {
                E + "PROTOCOL": "grpc",
                E + "ENDPOINT": "c:4317",
                E + "INSECURE": "true",
                E + "TRACES_INSECURE": "false",
            },
            "c:4317",
            True,
        ),
        ({E + "ENDPOINT": ""}, "http://localhost:4318/v1/traces", False),
    ],
)
def test_endpoints(variables: dict[str, str], endpoint: str, tls: bool) -> None:
    traces = from_environment(variables).otlp["traces"]
    assert (traces.endpoint, traces.tls) == (endpoint, tls)


def test_per_signal_beats_general() -> None:
    settings = from_environment(
        {
            E + "TIMEOUT": "2000",
            E + "LOGS_TIMEOUT": "300",
            E + "COMPRESSION": "gzip",
            E + "LOGS_COMPRESSION": "none",
        }
    )
    assert (settings.otlp["traces"].timeout_seconds, settings.otlp["logs"].timeout_seconds) == (
        2.0,
        0.3,
    )
    assert (settings.otlp["traces"].gzip, settings.otlp["logs"].gzip) == (True, False)


def test_headers_are_percent_decoded_and_lower_case_for_grpc() -> None:
    value = {E + "HEADERS": "Api-Key=a%20b,,x = y ,broken,=no"}
    assert from_environment(value).otlp["logs"].headers == (("Api-Key", "a b"), ("x", "y"))
    assert from_environment(value | {E + "PROTOCOL": "grpc"}).otlp["logs"].headers == (
        ("api-key", "a b"),
        ("x", "y"),
    )


def test_a_bad_number_is_the_default_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert from_environment({E + "TIMEOUT": "ten"}).otlp["logs"].timeout_seconds == 10.0
    assert f"{E}TIMEOUT" in caplog.text
    assert "ten" not in caplog.text


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_certificates_are_checked_at_start(tmp_path: Path, protocol: str) -> None:
    authority = trustme.CA()
    pair = authority.issue_cert("client")
    good, chain, key, foreign = (
        tmp_path / name for name in ("ca.pem", "chain.pem", "key.pem", "foreign.pem")
    )
    authority.cert_pem.write_to_path(good)
    pair.cert_chain_pems[0].write_to_path(chain)
    pair.private_key_pem.write_to_path(key)
    authority.issue_cert("other").private_key_pem.write_to_path(foreign)
    junk, fifo, big = tmp_path / "junk", tmp_path / "fifo", tmp_path / "big"
    junk.write_bytes(b"\xff\0 no certificate")
    big.write_bytes(b"x" * (2 << 20))
    os.mkfifo(fifo)
    base = {E + "ENDPOINT": "https://localhost:1", E + "PROTOCOL": protocol}
    bad = [
        ({"CERTIFICATE": junk}, "no certificate in PEM"),
        ({"CERTIFICATE": fifo}, "not a regular file"),
        ({"CERTIFICATE": tmp_path}, "not a regular file"),
        ({"CERTIFICATE": tmp_path / "none"}, "No such file"),
        ({"CERTIFICATE": big}, "larger than"),
        ({"CLIENT_KEY": key}, "without"),
        ({"CLIENT_CERTIFICATE": chain, "CLIENT_KEY": foreign}, "its own unencrypted key"),
        ({"CLIENT_CERTIFICATE": chain, "CLIENT_KEY": fifo}, "not a regular file"),
        ({"CLIENT_CERTIFICATE": chain}, "unencrypted key"),
    ]
    for files, message in bad:
        settings = from_environment(base | {E + k: str(v) for k, v in files.items()}).otlp["logs"]
        with pytest.raises(ConfigError, match=message) as caught:
            GrpcTransport(settings, "k") if protocol == "grpc" else HttpTransport(settings, "k")
        assert str(caught.value).isprintable()
    files = {"CERTIFICATE": good, "CLIENT_CERTIFICATE": chain, "CLIENT_KEY": key}
    settings = from_environment(base | {E + k: str(v) for k, v in files.items()}).otlp["logs"]
    GrpcTransport(settings, "k") if protocol == "grpc" else HttpTransport(settings, "k")


@pytest.mark.parametrize(
    "variables",
    [
        {E + "PROTOCOL": "thrift"},
        {E + "COMPRESSION": "lz4"},
        {E + "ENDPOINT": "ftp://x"},
        {E + "ENDPOINT": "nonsense"},
        {"OTEL_LOGS_EXPORTER": "kafka"},
        {E + "PROTOCOL": "grpc", E + "ENDPOINT": "unix:///x"},
    ],
)
def test_what_cannot_be_meant_is_refused(variables: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="OTEL_"):
        from_environment(variables)


def test_resource_attributes() -> None:
    settings = from_environment({"OTEL_RESOURCE_ATTRIBUTES": "a=b%2Cc, service.name = x ,d=e"})
    assert (settings.service_name, settings.resource_attributes) == (
        "x",
        (("a", "b,c"), ("d", "e")),
    )
    assert (
        from_environment(
            {"OTEL_SERVICE_NAME": "y", "OTEL_RESOURCE_ATTRIBUTES": "service.name=x"}
        ).service_name
        == "y"
    )
    assert from_environment({"OTEL_RESOURCE_ATTRIBUTES": "a=b,broken"}).resource_attributes == ()


def test_exporters_and_batches() -> None:
    settings = from_environment(
        {
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "console,otlp",
            "OTEL_BLRP_MAX_QUEUE_SIZE": "7",
        }
    )
    assert settings.exporters["traces"] == ()
    assert settings.exporters["logs"] == ("console", "otlp")
    assert settings.batches["logs"].queue_items == 7
    assert from_environment({"OTEL_SDK_DISABLED": "true"}).disabled


def test_only_an_endpoint_asks_for_export() -> None:
    assert asks_for_export({E + "LOGS_ENDPOINT": "http://x"})
    assert not asks_for_export({E + "ENDPOINT": " ", E + "HEADERS": "a=b"})
