"""The outgoing door: where it leads, where it does not, and what it does with an answer."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from shahar.ports.webhooks import Outbound, Webhooks
from shahar.services.deliveries import Notice, Refused
from shahar.values.errors import Invalid, PeerFailed

Answer = Callable[[str, dict[str, str]], bytes]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LOOPBACK = ("127.0.0.0/8", "::1")


class Peer:
    """A server on this machine that answers as it is told to; keeps paths and headers."""

    def __init__(self, answer: Answer = lambda path, headers: OK) -> None:
        self.answer = answer
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.connections = 0
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines if line)
                await reader.readexactly(int(headers.get("Content-Length", "0")))
                self.paths.append(first.split(" ")[1])
                self.headers.append(headers)
                writer.write(self.answer(self.paths[-1], headers))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def story(work: Callable[[Peer], Awaitable[None]], answer: Answer = lambda path, headers: OK) -> Peer:
    peer = Peer(answer)

    async def run() -> None:
        server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
        peer.port = server.sockets[0].getsockname()[1]
        try:
            await work(peer)
        finally:
            server.close()
            await asyncio.sleep(0)  # the peer sees the ends of its connections

    asyncio.run(run())
    return peer


def notice(uri: str, **members: Any) -> Notice:
    given: dict[str, Any] = {
        "uri": uri, "accept": "application/json", "tenant": "", "context": None, "info": (), "timeout_s": 2.0,
        "body": b"{}",
    }  # fmt: skip
    return Notice(**given | members)


async def post(uri: str, allow: tuple[str, ...] = LOOPBACK, **members: Any) -> None:
    out = Webhooks(Outbound(allow))
    try:
        await out.post(notice(uri, **members))
    finally:
        await out.close()


async def fetch(uri: str, allow: tuple[str, ...] = LOOPBACK, **bounds: Any) -> bytes:
    out = Webhooks(Outbound(allow))
    try:
        return await out.fetch(uri, **bounds)
    finally:
        await out.close()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0", "100.64.0.1",
        "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "198.18.0.1", "192.0.2.1", "::", "::1", "fe80::1",
        "fe80::1%eth0", "fc00::1", "ff02::1", "2001:db8::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::",
        "64:ff9b::7f00:1", "64:ff9b::a00:1", "2001:0:4136:e378:8000:63bf:80ff:fffe", "localhost", "",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert Outbound().refused(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "213.230.64.1", "2606:4700::1111", "64:ff9b::808:808"])
def test_a_public_address_may_be_reached(address: str) -> None:
    assert Outbound().refused(address) is None


def test_an_allowed_network_opens_itself_alone_and_a_denied_one_wins() -> None:
    door = Outbound(allow=("10.1.0.0/16",), deny=("10.1.2.0/24", "8.8.0.0/16"))
    assert door.refused("10.1.1.1") is None
    assert door.refused("::ffff:10.1.1.1") is None
    assert door.refused("10.2.1.1")
    assert door.refused("10.1.2.3")
    assert door.refused("8.8.8.8")
    with pytest.raises(Invalid):
        Outbound(allow=("everything",))


@given(some.ip_addresses(network="10.0.0.0/8") | some.ip_addresses(network="fc00::/7"))
def test_no_private_address_is_ever_reached(address: Any) -> None:
    assert Outbound().refused(str(address))


def test_a_refused_address_is_never_connected_to() -> None:
    async def work(peer: Peer) -> None:
        hosts = ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "127.1", "2130706433", "0x7f.1", "0.0.0.0"]
        for host in hosts:
            with pytest.raises(PeerFailed):
                await post(f"http://{host}:{peer.port}/", allow=())
            with pytest.raises(PeerFailed):
                await fetch(f"http://{host}:{peer.port}/", allow=())

    assert story(work).connections == 0


def test_a_name_that_leads_inside_is_refused_whatever_it_was_before(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(peer: Peer) -> None:
        where = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", peer.port))

        async def resolve(*_: Any, **__: Any) -> list[Any]:
            return [where]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        with pytest.raises(PeerFailed, match="not a public address"):
            await post(f"http://hooks.example.org:{peer.port}/", allow=())

    assert story(work).connections == 0


def test_a_notification_carries_its_kind_context_tenant_and_what_the_receiver_asked_for() -> None:
    async def work(peer: Peer) -> None:
        uri = f"http://127.0.0.1:{peer.port}/a?b=c"
        info = (("Authorization", "Bearer x"), ("X-Key", "v"))
        await post(uri, tenant="north", context=["http://city/context.jsonld"], info=info)
        await post(uri, accept="application/ld+json")

    peer = story(work)
    first, second = peer.headers
    assert peer.paths == ["/a?b=c"] * 2
    assert first["Content-Type"] == "application/json"
    assert first["Link"].startswith('<http://city/context.jsonld>; rel="http://www.w3.org/ns/json-ld#context"')
    assert (first["NGSILD-Tenant"], first["Authorization"], first["X-Key"]) == ("north", "Bearer x", "v")
    assert second["Content-Type"] == "application/ld+json"
    assert "Link" not in second
    assert "NGSILD-Tenant" not in second


@pytest.mark.parametrize(
    ("status", "kind"), [(400, Refused), (422, Refused), (404, PeerFailed), (401, PeerFailed), (500, PeerFailed)]
)
def test_an_answer_says_whether_it_may_be_tried_again(status: int, kind: type[Exception]) -> None:
    async def work(peer: Peer) -> None:
        with pytest.raises(kind) as told:
            await post(f"http://127.0.0.1:{peer.port}/secret-path")
        assert type(told.value) is kind
        assert "secret" not in str(told.value)

    story(work, lambda path, headers: f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())


def test_a_post_follows_no_redirect() -> None:
    async def work(peer: Peer) -> None:
        with pytest.raises(PeerFailed, match="302"):
            await post(f"http://127.0.0.1:{peer.port}/")

    peer = story(work, lambda path, headers: b"HTTP/1.1 302 X\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n")
    assert peer.paths == ["/"]


def _leading(path: str, _headers: dict[str, str]) -> bytes:
    left = int(path[1:])
    if left == 0:
        return OK
    return f"HTTP/1.1 301 X\r\nLocation: /{left - 1}\r\nContent-Length: 0\r\n\r\n".encode()


def test_a_fetch_follows_three_redirects_and_no_more() -> None:
    async def work(peer: Peer) -> None:
        assert await fetch(f"http://127.0.0.1:{peer.port}/3") == b"ok"
        with pytest.raises(PeerFailed, match="on and on"):
            await fetch(f"http://127.0.0.1:{peer.port}/4")

    story(work, _leading)


@pytest.mark.parametrize("to", ["http://[::1]:1/", "http://10.0.0.1/", "ftp://127.0.0.1/", "file:///etc/passwd"])
def test_a_redirect_goes_through_the_same_door(to: str) -> None:
    async def work(peer: Peer) -> None:
        with pytest.raises(PeerFailed, match=r"not a public address|not an http"):
            await fetch(f"http://127.0.0.1:{peer.port}/", allow=("127.0.0.1",))

    story(work, lambda path, headers: f"HTTP/1.1 302 X\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode())


def test_a_document_beyond_the_bound_is_refused_with_and_without_a_length() -> None:
    async def work(peer: Peer) -> None:
        for path in ("said", "unsaid"):
            with pytest.raises(PeerFailed, match="too large"):
                await fetch(f"http://127.0.0.1:{peer.port}/{path}", max_bytes=1_000)

    def answer(path: str, _headers: dict[str, str]) -> bytes:
        if path == "/said":
            return b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b"x" * 5_000
        chunks = b"".join(b"3e8\r\n" + b"x" * 1_000 + b"\r\n" for _ in range(5))
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"

    story(work, answer)


def test_a_silent_peer_is_given_up_in_time() -> None:
    async def work(peer: Peer) -> None:
        with pytest.raises(PeerFailed, match="did not answer within"):
            await post(f"http://127.0.0.1:{peer.port}/", timeout_s=0.2)
        with pytest.raises(PeerFailed, match="did not answer within"):
            await fetch(f"http://127.0.0.1:{peer.port}/", timeout_s=0.2)

    story(work, lambda path, headers: b"")


def test_nonsense_is_a_failed_peer() -> None:
    async def work(peer: Peer) -> None:
        for uri in (f"http://127.0.0.1:{peer.port}/", "http://127.0.0.1:1/"):
            with pytest.raises(PeerFailed):
                await post(uri)

    story(work, lambda path, headers: b"what do you want\r\n\r\n")


def test_a_connection_is_used_again() -> None:
    async def work(peer: Peer) -> None:
        out = Webhooks(Outbound(LOOPBACK))
        for _ in range(5):
            await out.post(notice(f"http://127.0.0.1:{peer.port}/"))
        await out.close()

    assert story(work).connections == 1


# -- what a POST does with its connection -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", 1),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 1),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 1),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 3),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 3),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n" + b"x" * 90_000, 3),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nand more", 3),
    ],
)
def test_a_connection_is_kept_when_the_answer_lets_it(answer: bytes, connections: int) -> None:
    async def work(peer: Peer) -> None:
        out = Webhooks(Outbound(LOOPBACK))
        for _ in range(3):
            await out.post(notice(f"http://127.0.0.1:{peer.port}/"))
            await asyncio.sleep(0.02)
        await out.close()

    assert story(work, lambda path, headers: answer).connections == connections


def test_a_connection_that_was_closed_while_it_waited_is_made_again() -> None:
    served = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        served += 1
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(OK)
        await writer.drain()
        await reader.read(1)  # the next request is read in part, and not answered
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(once, "127.0.0.1", 0)
        out = Webhooks(Outbound(LOOPBACK))
        for _ in range(3):
            await out.post(notice(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"))
        await out.close()
        server.close()
        await asyncio.sleep(0.05)

    asyncio.run(run())
    assert served == 3


def test_an_answer_that_ends_with_its_connection_is_an_answer_and_half_a_head_is_none() -> None:
    async def serve(head: bytes) -> None:
        async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n{}")
            writer.write(head)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(close, "127.0.0.1", 0)
        try:
            await post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
        finally:
            server.close()

    asyncio.run(serve(b"HTTP/1.1 200 OK\r\n\r\nuntil the end"))
    for head in (b"HTTP/1.1 200 O", b"", b"\x15\x03\x01"):
        with pytest.raises(PeerFailed):
            asyncio.run(serve(head))


def test_an_address_is_sent_as_it_may_stand_in_a_request() -> None:
    async def work(peer: Peer) -> None:
        await post(f"http://localhost:{peer.port}/so\u2018rov/a%20b?q=\u0448\u0430\u04b3\u0430\u0440&x=1#part")
        await post(f"http://127.0.0.1:{peer.port}")

    peer = story(work)
    assert peer.paths == ["/so%E2%80%98rov/a%20b?q=%D1%88%D0%B0%D2%B3%D0%B0%D1%80&x=1", "/"]
    assert peer.headers[0]["Host"] == f"localhost:{peer.port}"


def test_a_certificate_is_looked_at(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
         "2", "-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        check=False, capture_output=True,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("openssl, which makes the certificate, is not installed")
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    served.load_cert_chain(certificate, key)

    async def run() -> None:
        peer = Peer()
        server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=served)
        uri = f"https://localhost:{server.sockets[0].getsockname()[1]}/"
        out = Webhooks(Outbound(LOOPBACK))
        with pytest.raises(PeerFailed, match="certificate"):
            await out.post(notice(uri))
        out._posts._tls = ssl.create_default_context(cafile=certificate)
        await out.post(notice(uri))
        with pytest.raises(PeerFailed, match="certificate"):
            await out.post(notice(uri.replace("localhost", "127.0.0.1")))
        await out.close()
        server.close()
        await asyncio.sleep(0.1)  # the other side sees the ends of its connections
        assert peer.paths == ["/"]

    asyncio.run(run())
