"""The health endpoint: /livez, /readyz (one word each), /metrics (Prometheus text), /tree (the work that goes on now).

Loopback only, GET only."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from aiohttp import web

from receiver.signals import Histogram, Metric

log = logging.getLogger("kwitness.admin")
_HOSTS = {"127.0.0.1", "localhost", "[::1]", "::1"}


class Admin:
    """Serves until `close`. `ready` gives "ready", or the reason why not; `metrics` what to show."""

    def __init__(
        self,
        host: str,
        port: int,
        ready: Callable[[], str],
        metrics: Callable[[], Iterable[Metric]],
        tree: Callable[[], str] = lambda: "",
    ) -> None:
        self._host, self._port = host, port
        self._ready, self._metrics, self._tree = ready, metrics, tree
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """A port that is taken is said and does not stop the observing."""
        app = web.Application(client_max_size=1, middlewares=[_loopback_only])
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._show_metrics)
        app.router.add_get("/tree", self._show_tree)
        self._runner = web.AppRunner(app, access_log=None, keepalive_timeout=15)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            log.error("the health endpoint cannot listen on %s:%d: %s; set admin.port", self._host, self._port, error.strerror)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        return [a[:2] for a in self._runner.addresses] if self._runner else []

    async def _livez(self, _: web.Request) -> web.Response:
        return web.Response(text="live\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        state = self._ready()
        return web.Response(text=state + "\n", status=200 if state == "ready" else 503)

    async def _show_tree(self, _: web.Request) -> web.Response:
        return web.Response(text=self._tree(), content_type="text/plain", charset="utf-8")

    async def _show_metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=prometheus_text(self._metrics()), content_type="text/plain", charset="utf-8")

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


@web.middleware
async def _loopback_only(request: web.Request, handler: Callable[[web.Request], object]) -> web.StreamResponse:
    """A foreign Host is DNS rebinding; an Origin is a browser's page. Neither is ours."""
    host = request.host.rpartition(":")[0] if request.host.rpartition(":")[2].isdigit() else request.host
    if host not in _HOSTS or "Origin" in request.headers:
        raise web.HTTPForbidden(text="forbidden\n")
    return await handler(request)  # type: ignore[misc, no-any-return]


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
                for bound, count in zip((*map(str, point.value.bounds), "+Inf"), point.value.buckets, strict=True):
                    total += count
                    lines.append(_sample(name + "_bucket", [*labels, f'le="{bound}"'], total))
                lines += [_sample(name + "_sum", labels, point.value.sum), _sample(name + "_count", labels, point.value.count)]
            else:
                lines.append(_sample(name, labels, point.value))
    return "\n".join(lines) + "\n"


def _name(metric: Metric) -> str:
    unit = {"s": "_seconds", "By": "_bytes"}.get(metric.unit, "")
    return metric.name.replace(".", "_") + unit + ("_total" if metric.instrument == "counter" else "")


def _sample(name: str, labels: list[str], value: float) -> str:
    return f"{name}{{{','.join(labels)}}} {value}" if labels else f"{name} {value}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
