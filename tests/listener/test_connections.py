"""Attacks with connections: idle ones, heads that never end, and no descriptors left."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from receiver.kernel.descriptors import Reserve, raise_limit
from receiver.safe.connection import Limits
from tests.listener.peers import TOKEN, listening, peers


async def test_idle_connections_make_room_for_whoever_asks() -> None:
    async with listening() as listener, peers(listener, 200):
        for _ in range(3):
            async with peers(listener, 1) as (prober,):
                assert await prober.ask() == 200
        assert len(listener) <= 16
        assert listener.counts["evicted"] >= 184


async def test_connections_with_the_token_are_kept_and_have_a_cap_of_their_own() -> None:
    async with (
        listening(Limits(connections=12, unproven=4)) as listener,
        peers(listener, 1) as (first,),
    ):
        assert await first.ask("/closed", TOKEN) == 200
        async with peers(listener, 40):
            assert await first.ask("/closed", TOKEN) == 200  # the flood has not touched it
            for number in range(10):  # with the first one: three more than there is room for
                async with peers(listener, 1) as (caller,):
                    assert await caller.ask("/closed", TOKEN) == 200, number
                    assert len(listener) <= 12
            assert await first.ask("/closed", TOKEN) in (0, 200)


async def test_a_head_that_never_ends_and_a_connection_without_one() -> None:
    async with (
        listening(Limits(header_seconds=0.2)) as listener,
        peers(listener, 2) as (silent, slow),
    ):
        slow.writer.write(b"GET /open HTTP/1.1\r\nX-")
        for byte in (b"a", b"b"):
            await asyncio.sleep(0)
            slow.writer.write(byte)
        await asyncio.gather(silent.ended(), slow.ended())
        assert listener.counts["header_timeout"] == 2 and len(listener) == 0


async def test_the_time_for_a_head_begins_with_its_first_byte_also_after_an_answer() -> None:
    async with (
        listening(Limits(header_seconds=0.3, idle_seconds=3600)) as listener,
        peers(listener, 1) as (peer,),
    ):
        assert await peer.ask() == 200
        peer.writer.write(b"GET /op")
        await peer.ended()
        assert listener.counts["header_timeout"] == 1


async def test_idle_connections_end_without_a_word() -> None:
    async with listening(Limits(idle_seconds=0.2)) as listener, peers(listener, 1) as (peer,):
        assert await peer.ask() == 200
        await peer.ended()
        assert not listener.counts


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(400, soft), hard))
        try:
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        except OSError:
            pass
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_without_a_free_descriptor_a_probe_is_still_answered() -> None:
    async with listening() as listener:
        loop, probes = asyncio.get_running_loop(), []
        for _ in range(12):
            probes.append(socket.socket())
            probes[-1].setblocking(False)
        with no_descriptors_left():
            for probe in probes:  # each of them is left open
                await loop.sock_connect(probe, listener.addresses[0])
                await loop.sock_sendall(probe, b"GET /open HTTP/1.1\r\nHost: x\r\n\r\n")
                assert (await loop.sock_recv(probe, 1000)).startswith(b"HTTP/1.1 200")
        assert listener.counts["no_descriptor"] >= 8
        for probe in probes:
            probe.close()


def test_the_limit_of_descriptors_is_raised_and_the_old_one_is_given() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (500, before[1]))
        assert raise_limit() == (500, before[1])
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(65_536, before[1])
        raise_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(65_536, before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_reserve_gives_and_takes_back() -> None:
    reserve = Reserve(3)
    assert reserve.give() and len(reserve) == 2
    with reserve.lent():
        assert len(reserve) == 0 and not reserve.give()
    assert len(reserve) == 3
    reserve.close()
