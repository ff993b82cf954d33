"""The admin endpoint.

It serves /livez and /readyz (one word each). With the token it also serves /metrics (Prometheus
text), /tree (the running tasks), /incidents, /incidents/{id} (JSON, text or a page), POST
/incidents/{id}/note and POST /alerts.

Loopback only. GET has no effects. POST takes JSON of at most 256 KiB, at a limited rate. Without a
token file there is no token: /metrics and /tree are then open to this host, and the incident paths
are closed.

Any user of the host can connect. receiver.safe.listener limits the cost: 64 connections, 16 of them
without the token, and timers for heads, bodies and answers.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from aiohttp import web

from receiver.errors import DataError
from receiver.safe.connection import ClientConnection, Limits
from receiver.safe.listener import SocketListener
from receiver.safe.log_limit import LogLimit
from receiver.signals import Histogram, Metric
from receiver.text.printable import printable
from receiver.units import KIB

log = logging.getLogger("kwitness.admin")
_HOSTS = {"127.0.0.1", "localhost", "[::1]", "::1"}
BODY_BYTES = 256 * KIB
LIMITS = Limits(connections=64, unproven=16, request_bytes=512 * KIB)
POSTS_PER_SECOND, BURST = 2.0, 20.0
_OPEN = {"/livez", "/readyz"}
_OPEN_WITHOUT_TOKEN = {*_OPEN, "/metrics", "/tree"}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Cache-Control": "no-store",
}


class IncidentAnswers(Protocol):
    """Answers requests about incidents. Raises DataError for an invalid body."""

    def listing(self) -> bytes: ...

    def report(self, incident_id: str, form: str) -> str | None: ...

    def note(self, incident_id: str, body: bytes) -> bool: ...

    def alert(self, body: bytes) -> bytes: ...


class Admin:
    """Serves until `close`.

    `ready` returns "ready" or the reason why not, `metrics` the metrics to serve.
    """

    def __init__(
        self,
        host: str,
        port: int,
        ready: Callable[[], str],
        metrics: Callable[[], Iterable[Metric]],
        *,
        tree: Callable[[], str] = lambda: "",
        incidents: IncidentAnswers | None = None,
        token: str = "",
    ) -> None:
        self._host, self._port = host, port
        self._ready, self._metrics, self._tree, self._incidents = ready, metrics, tree, incidents
        self._token = token.encode()
        self._listener: SocketListener | None = None
        self._limited = LogLimit(log)
        self._allowance, self._refilled = BURST, time.monotonic()

    async def start(self) -> None:
        """If the port is in use, logs an error and continues without the endpoint."""
        app = web.Application(
            client_max_size=BODY_BYTES, middlewares=[_loopback_only, self._authorised]
        )
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._show_metrics)
        app.router.add_get("/tree", self._show_tree)
        if self._incidents is not None:
            app.router.add_get("/incidents", self._show_incidents)
            app.router.add_get("/incidents/{id}", self._show_incident)
            app.router.add_post("/incidents/{id}/note", self._take_note)
            app.router.add_post("/alerts", self._take_alert)
        self._listener = SocketListener("admin", app, LIMITS)
        try:
            await self._listener.start(self._host, self._port)
        except OSError as error:
            log.error(
                "the health endpoint cannot listen on %s:%d: %s; set admin.port",
                self._host,
                self._port,
                error.strerror,
            )
            await self._listener.close()

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return self._listener.addresses if self._listener is not None else []

    def metrics(self) -> tuple[Metric, ...]:
        """Connections that were closed before an answer, by reason."""
        return self._listener.metrics() if self._listener is not None else ()

    @web.middleware
    async def _authorised(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Compares in constant time. Logs one line for every call that may change something."""
        if (
            request.match_info.http_exception is not None
        ):  # the path or method does not exist, with or without a token
            return await handler(request)
        if request.path in (_OPEN if self._token else _OPEN_WITHOUT_TOKEN):
            return await handler(request)
        if not self._token:
            raise web.HTTPForbidden(
                text="no token is set: set state.directory or admin.token_file of the service\n"
            )
        given = (
            request.headers.get("Authorization", "")
            .removeprefix("Bearer ")
            .encode("utf-8", "surrogateescape")
        )
        if not hmac.compare_digest(given, self._token):
            self._limited.say(
                logging.WARNING, "token", "a request without the right token was refused"
            )
            raise web.HTTPUnauthorized(
                text="the token is missing or wrong\n", headers={"WWW-Authenticate": "Bearer"}
            )
        connection = request.protocol
        if (
            self._listener is not None
            and isinstance(connection, ClientConnection)
            and not self._listener.prove(connection)
        ):
            raise web.HTTPServiceUnavailable(
                text="too many connections\n", headers={"Retry-After": "1", "Connection": "close"}
            )
        if request.method == "POST":
            self._limited.say(
                logging.INFO, "call", "%s %s", request.method, printable(request.path[:200])
            )
        return await handler(request)

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        state = self._ready()
        return web.Response(text=state + "\n", status=200 if state == "ready" else 503)

    async def _show_tree(self, _: web.Request) -> web.Response:
        return web.Response(text=self._tree(), content_type="text/plain", charset="utf-8")

    async def _show_metrics(self, _: web.Request) -> web.Response:
        return web.Response(
            text=prometheus_text(self._metrics()), content_type="text/plain", charset="utf-8"
        )

    async def _show_incidents(self, _: web.Request) -> web.Response:
        assert self._incidents is not None
        return web.Response(
            body=self._incidents.listing(), content_type="application/json", headers=_HEADERS
        )

    async def _show_incident(self, request: web.Request) -> web.Response:
        """As JSON, `?form=text` or `?form=page`; without `form`, by the Accept header."""
        assert self._incidents is not None
        wanted = request.headers.get("Accept", "")
        form = request.query.get("form") or (
            "page" if "text/html" in wanted else "text" if "text/plain" in wanted else "json"
        )
        kind = {"json": "application/json", "text": "text/plain", "page": "text/html"}.get(form)
        if kind is None:
            raise web.HTTPBadRequest(text="form must be json, text or page\n")
        found = self._incidents.report(request.match_info["id"], form)
        if found is None:
            raise web.HTTPNotFound(text="there is no such incident\n")
        return web.Response(text=found, content_type=kind, charset="utf-8", headers=_HEADERS)

    async def _take_note(self, request: web.Request) -> web.Response:
        assert self._incidents is not None
        body = await self._body(request)
        try:
            known = self._incidents.note(request.match_info["id"], body)
        except DataError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from None
        if not known:
            raise web.HTTPNotFound(text="there is no such incident, or it has no signature\n")
        return web.Response(text="noted\n")

    async def _take_alert(self, request: web.Request) -> web.Response:
        assert self._incidents is not None
        body = await self._body(request)
        try:
            return web.Response(
                body=self._incidents.alert(body), content_type="application/json", headers=_HEADERS
            )
        except DataError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from None

    async def _body(self, request: web.Request) -> bytes:
        """The body: complete, small, uncompressed JSON, within the rate limit."""
        now = time.monotonic()
        self._allowance = min(BURST, self._allowance + (now - self._refilled) * POSTS_PER_SECOND)
        self._refilled = now
        if self._allowance < 1:
            raise web.HTTPTooManyRequests(text="too many requests\n", headers={"Retry-After": "1"})
        self._allowance -= 1
        if request.content_type != "application/json" or "Content-Encoding" in request.headers:
            raise web.HTTPUnsupportedMediaType(text="only application/json, not compressed\n")
        return await request.read()

    async def close(self) -> None:
        if self._listener is not None:
            await self._listener.close()
            self._listener = None


_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _loopback_only(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Refuses a foreign Host (DNS rebinding) and an Origin (a browser's page)."""
    host = (
        request.host.rpartition(":")[0]
        if request.host.rpartition(":")[2].isdigit()
        else request.host
    )
    if host not in _HOSTS or "Origin" in request.headers:
        raise web.HTTPForbidden(text="forbidden\n")
    return await handler(request)


def prometheus_text(metrics: Iterable[Metric]) -> str:
    """The text exposition format 0.0.4, named as Prometheus names OTLP metrics."""
    lines: list[str] = []
    for metric in metrics:
        name = _name(metric)
        kind = {"counter": "counter", "histogram": "histogram"}.get(metric.instrument, "gauge")
        lines += [f"# HELP {name} {_escaped(metric.description)}", f"# TYPE {name} {kind}"]
        for point in metric.points:
            labels = [f'{k.replace(".", "_")}="{_escaped(str(v))}"' for k, v in point.attributes]
            if isinstance(point.value, Histogram):
                total = 0
                for bound, count in zip(
                    (*map(str, point.value.bounds), "+Inf"), point.value.buckets, strict=True
                ):
                    total += count
                    lines.append(_sample(name + "_bucket", [*labels, f'le="{bound}"'], total))
                lines += [
                    _sample(name + "_sum", labels, point.value.sum),
                    _sample(name + "_count", labels, point.value.count),
                ]
            else:
                lines.append(_sample(name, labels, point.value))
    return "\n".join(lines) + "\n"


def _name(metric: Metric) -> str:
    unit = {"s": "_seconds", "By": "_bytes"}.get(metric.unit, "")
    return (
        metric.name.replace(".", "_") + unit + ("_total" if metric.instrument == "counter" else "")
    )


def _sample(name: str, labels: list[str], value: float) -> str:
    return f"{name}{{{','.join(labels)}}} {value}" if labels else f"{name} {value}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
