"""Connections."""

from __future__ import annotations

from tests.truth.forms import Scene, form


@form(r"ENDPOINT (?:refused|accepted|rejected) P1")
@form(r"P1 (?:waited|has waited) (?:\d\S* s )?for (?:an answer from )?ENDPOINT")
@form(r"ENDPOINT received the request of P1")
@form(r"P1 (?:used|held) all its \d+ connections to ENDPOINT")
@form(r"[Cc]onnections? of P1 to ENDPOINT")
@form(r"P1 to ENDPOINT")
def connected(scene: Scene, p1: str, endpoint: str, **_: str) -> bool | None:
    """A child may use a socket that a process above it has connected."""
    life = scene.life(p1)
    while life is not None:
        if endpoint in life.connected:
            return True
        life = scene.life(life.parent)
    return False if any(endpoint in o.connected for o in scene.strace.lives.values()) else None


@form(r"No process listened on ENDPOINT: the connection of P1 was refused")
@form(r"ENDPOINT refused P1")
def refused(scene: Scene, p1: str, endpoint: str, **_: str) -> bool | None:
    """A connect(2) that does not block learns of it later."""
    life = scene.life(p1)
    if life is None:
        return None
    errors = life.connected.get(endpoint, [])
    return "ECONNREFUSED" in errors or "EINPROGRESS" in errors
