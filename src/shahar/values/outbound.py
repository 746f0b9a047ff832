"""Which addresses of the network may be reached on a stranger's word: the judgement behind every port that sends.

A subscriber names an address; without a judgement anybody who may subscribe could make us knock at doors inside the
city's own network (server-side request forgery).
Promises: private, loopback, link-local, multicast, reserved and unspecified addresses, also those wrapped in IPv6
(mapped, 6to4, Teredo, NAT64), are refused unless an allowed network holds them; a refused network wins over an allowed
one. Pure: numbers in, a sentence out.
Does not: resolve names, open sockets: a port asks with the very address that it is about to connect to.
Source: RFC 6890 (special addresses), RFC 6052 (NAT64).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final

from shahar.values.errors import Invalid

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class Outbound:
    """Which addresses may be reached; `allow` and `deny` are networks such as 127.0.0.0/8, and `deny` wins."""

    def __init__(self, allow: Sequence[str] = (), deny: Sequence[str] = ()) -> None:
        self._allow = tuple(_network(text) for text in allow)
        self._deny = tuple(_network(text) for text in deny)

    def refused(self, text: str) -> str | None:
        """Why this numeric address may not be reached; None when it may."""
        try:
            address = _unwrapped(ipaddress.ip_address(text))
        except ValueError:
            return f"{text} is not an address"
        if _within(address, self._deny):
            return f"{address} is on the list of refused networks"
        if _within(address, self._allow):
            return None
        if not address.is_global or address.is_multicast or address.is_reserved:
            return f"{address} is not a public address (see --outbound-allow)"
        return None


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise Invalid(f"{text!r:.60} is not a network such as 127.0.0.0/8", field="outbound-allow") from None


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def _unwrapped(address: Address) -> Address:
    """The IPv4 address inside an IPv6 one that only carries it."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    inner = address.ipv4_mapped or address.sixtofour
    if inner is None and address.teredo is not None:
        inner = address.teredo[1]
    if inner is None and address in _NAT64:
        inner = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return inner or address
