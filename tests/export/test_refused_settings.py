"""OTEL_* variables that cannot be meant: headers, names, addresses and numbers."""

from __future__ import annotations

import os

import pytest

from receiver.errors import ConfigError
from receiver.export.settings import from_environment
from tests.export.variables import E

CONTROLS = [f"%{n:02x}" for n in (*range(0x20), 0x7F)] + [
    "%80",
    "%C3%A4",
    "ä",
    "\r",
    "\n",
    "\x00",
    "a%0d%0aX-Other:%20b",
]


@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf", "http/json"])
@pytest.mark.parametrize(
    "variable", ["HEADERS", "LOGS_HEADERS", "TRACES_HEADERS", "METRICS_HEADERS"]
)
def test_a_header_value_with_a_control_character_is_refused_in_one_line(
    variable: str, protocol: str
) -> None:
    for bad in CONTROLS:
        with pytest.raises(
            ConfigError, match=f"^{E}{variable}: the value of authorization"
        ) as caught:
            from_environment(
                {
                    E + variable: f"a=b,authorization=Bearer%20hunter2{bad}x",
                    E + "PROTOCOL": protocol,
                }
            )
        assert "hunter2" not in str(caught.value)
        assert str(caught.value).isprintable()


NAMES = [
    ("a b", "not a header name"),
    ("a%0ab", "not a header name"),
    ("ä", "not a header name"),
    ("a:b", "not a header name"),
    ("content-length", "set by the exporter"),
    ("Transfer-Encoding", "set by the exporter"),
    ("Connection", "set by the exporter"),
]


@pytest.mark.parametrize(("name", "message"), NAMES)
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_a_header_name_that_cannot_be_sent_is_refused(
    name: str, message: str, protocol: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        from_environment({E + "HEADERS": f"{name}=hunter2", E + "PROTOCOL": protocol})
    assert str(caught.value).isprintable()
    assert "hunter2" not in str(caught.value)


def test_names_of_grpc_metadata_are_stricter() -> None:
    assert from_environment({E + "HEADERS": "a!b=1"}).otlp["logs"].headers == (("a!b", "1"),)
    for name in ("a!b", "grpc-timeout"):
        with pytest.raises(ConfigError, match="header"):
            from_environment({E + "HEADERS": f"{name}=1", E + "PROTOCOL": "grpc"})


def test_binary_metadata_of_grpc_is_base64() -> None:
    grpc = {E + "PROTOCOL": "grpc"}
    assert from_environment({E + "HEADERS": "x-id-bin=AAEC/w", **grpc}).otlp["logs"].headers == (
        ("x-id-bin", b"\0\1\2\xff"),
    )
    assert from_environment({E + "HEADERS": "x-id-bin=text!"}).otlp["logs"].headers == (
        ("x-id-bin", "text!"),
    )
    with pytest.raises(ConfigError, match="must be base64"):
        from_environment({E + "HEADERS": "x-id-bin=text!", **grpc})


URLS = [
    "http://",
    "http:///v1",
    "http://:4318",
    "http://a:99999",
    "http://a:0",
    "http://a:b",
    "http://a:",
    "http://[::1",
    "http://a b",
    "http://a\tb",
    "http://a\nb",
    "http://ä",
    "http://a#b",
    "//a",
    "a:4318",
    "http://user:hunter2@a",
    "http://a:1:2",
    "http://[zz]:1",
]


@pytest.mark.parametrize("endpoint", URLS)
@pytest.mark.parametrize("variable", ["ENDPOINT", "METRICS_ENDPOINT"])
def test_urls_that_cannot_be_posted_to_are_refused(variable: str, endpoint: str) -> None:
    with pytest.raises(ConfigError, match=f"^{E}{variable}") as caught:
        from_environment({E + variable: endpoint})
    assert str(caught.value).isprintable()
    assert "hunter2" not in str(caught.value)


TARGETS = [
    "http://",
    "http://a:99999",
    "a:b",
    "a:0",
    "user:hunter2@a:4317",
    "http://user:hunter2@a:4317",
    "a b:1",
    "a\n:1",
    ":1",
    "a:",
]


@pytest.mark.parametrize("endpoint", TARGETS)
def test_targets_that_grpc_cannot_reach_are_refused(endpoint: str) -> None:
    with pytest.raises(ConfigError, match=f"^{E}LOGS_ENDPOINT") as caught:
        from_environment({E + "LOGS_ENDPOINT": endpoint, E + "PROTOCOL": "grpc"})
    assert str(caught.value).isprintable()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["[::1]:4317", "http://[::1]:4317", "a.b-c:1", "10.0.0.1"])
def test_targets_that_grpc_can_reach(endpoint: str) -> None:
    assert (
        from_environment({E + "ENDPOINT": endpoint, E + "PROTOCOL": "grpc"}).otlp["logs"].endpoint
        in endpoint
    )


def test_the_query_of_a_url_stays_behind_its_path() -> None:
    assert (
        from_environment({E + "ENDPOINT": "http://a/b/?k=v"}).otlp["logs"].endpoint
        == "http://a/b/v1/logs?k=v"
    )


@pytest.mark.parametrize("value", ["9" * 5000, "-1", "1e9", "inf", "nan", "٣", "0x10", "1_000"])
def test_numbers_that_are_none_or_too_large(value: str) -> None:
    names = (
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "OTEL_BSP_MAX_EXPORT_BATCH_SIZE",
        "OTEL_BSP_SCHEDULE_DELAY",
        "OTEL_BSP_EXPORT_TIMEOUT",
        "OTEL_METRIC_EXPORT_INTERVAL",
        "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
        E + "TIMEOUT",
    )
    settings = from_environment(dict.fromkeys(names, value))
    batch = settings.batches["traces"]
    assert 0 < batch.queue_items <= 10_000_000
    assert 0 < batch.batch_items <= 10_000_000
    assert 0 <= settings.otlp["logs"].timeout_seconds <= 86_400
    assert 0 <= settings.metric_interval_seconds <= 86_400


def test_bytes_that_are_no_utf8_are_refused_by_the_name_of_the_variable() -> None:
    for name in (
        "OTEL_SERVICE_NAME",
        "OTEL_RESOURCE_ATTRIBUTES",
        E + "HEADERS",
        E + "ENDPOINT",
        E + "CERTIFICATE",
    ):
        with pytest.raises(ConfigError, match=f"^{name} is not UTF-8$"):
            from_environment({name: os.fsdecode(b"a=\xff")})


def test_an_exporter_that_is_named_twice_sends_once() -> None:
    assert from_environment({"OTEL_LOGS_EXPORTER": "otlp, otlp"}).exporters["logs"] == ("otlp",)
