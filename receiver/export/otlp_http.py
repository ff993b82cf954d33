"""OTLP over HTTP, with protobuf or JSON bodies."""

from __future__ import annotations

import encodings.idna  # noqa: F401 (the first host name needs it, after privileges are gone)
import gzip

import aiohttp

from receiver.export import tls
from receiver.export.options import OtlpSettings
from receiver.export.otlp_answers import http_outcome
from receiver.export.otlp_json import to_json
from receiver.export.outcome import Accepted, Outcome, Permanent, Retryable
from receiver.units import MIB

ANSWER_LIMIT = 4 * MIB  # bytes after decompression, OTLP specification 1.11


class HttpTransport:
    """One session, opened with the first request."""

    def __init__(self, settings: OtlpSettings, user_agent: str) -> None:
        self._settings = settings
        self._json = settings.protocol == "http/json"
        self._headers = {
            "Content-Type": "application/json" if self._json else "application/x-protobuf",
            "User-Agent": user_agent,
            **{name: str(value) for name, value in settings.headers},
        }
        if settings.gzip:
            self._headers["Content-Encoding"] = "gzip"
        self._ssl = tls.context(settings) if settings.tls else None
        self._session: aiohttp.ClientSession | None = None

    async def send(self, body: bytes) -> Outcome:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._settings.timeout_seconds or None)
            self._session = aiohttp.ClientSession(
                timeout=timeout, connector=aiohttp.TCPConnector(limit=4)
            )
        if self._json:
            body = to_json(self._settings.signal, body)
        if self._settings.gzip:
            body = gzip.compress(body, 5)
        try:
            async with self._session.post(
                self._settings.endpoint,
                data=body,
                headers=self._headers,
                ssl=self._ssl if self._ssl else True,
                allow_redirects=False,
            ) as response:
                return await self._outcome(response)
        except TimeoutError:
            return Retryable("timeout")
        except aiohttp.ClientConnectorCertificateError as error:
            return Permanent("certificate", str(error))
        except aiohttp.ClientSSLError as error:
            return Permanent("tls", str(error))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return (
                Retryable("connection")
                if not isinstance(error, aiohttp.InvalidURL)
                else Permanent("endpoint", str(error))
            )

    async def _outcome(self, response: aiohttp.ClientResponse) -> Outcome:
        answer = bytearray()
        async for part in response.content.iter_chunked(1 << 16):
            answer += part
            if len(answer) > ANSWER_LIMIT:
                response.close()
                return Permanent("bad_response", "the answer is longer than 4 MiB")
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
        if self._json and 200 <= response.status < 300 and kind == "application/json":
            return Accepted()
        return http_outcome(
            self._settings.signal,
            response.status,
            response.headers.get("Retry-After", ""),
            bytes(answer),
            is_protobuf=kind == "application/x-protobuf",
        )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
