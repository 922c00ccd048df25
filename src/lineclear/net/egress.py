"""The egress guard: which addresses a target's name may lead to.

In: all addresses a name resolved to. Out: the same addresses, or a refusal of them all.
We connect to the address that was judged, never to the name again, so a name cannot change its mind in between.
Through a proxy it is the proxy that resolves: only what the name itself tells can be judged then.
Source: IANA special-purpose address registries; research/reliability-security.md §5 row 15.
"""

import ipaddress
import socket
from typing import TypeAlias

from lineclear.domain.errors import ErrorCode, Sent, UpstreamError
from lineclear.net.failures import broken

Address: TypeAlias = "ipaddress.IPv4Address | ipaddress.IPv6Address"
Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"

NEVER: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network
        "169.254.0.0/16",  # link-local and the metadata services of most clouds
        "100.100.100.200/32",  # a metadata service inside the shared range
        "192.0.0.0/24",  # protocol assignments, a metadata service among them
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved and broadcast
        "::/128",
        "fe80::/10",
        "fd00:ec2::254/128",  # a metadata service inside the unique local range
        "ff00::/8",
    )
)
"""No flag permits these: nothing that serves a model lives there, and credentials of the machine do."""

PRIVATE: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "172.16.0.0/12",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "::1/128",
        "100::/64",
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fec0::/10",
    )
)
"""Permitted where the provider says `private_network: true`."""

CARRIERS: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        "::/96",
        "::ffff:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/23",
        "2002::/16",
    )
)
"""IPv6 forms that carry or stand for another address: v4-mapped, NAT64, Teredo, 6to4. Never needed, often a trick."""


METADATA_ADDRESS = "169.254.169.254"
METADATA_NAMES = frozenset({"metadata", "metadata.google.internal", "metadata.goog", "instance-data"})


def told_addresses(host: str) -> tuple[str, ...]:
    """The addresses that a host tells of without being resolved: literals however they are spelt, names of this
    machine, names of metadata services. Empty for every other name.
    """
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return ("127.0.0.1",)
    if name in METADATA_NAMES:
        return (METADATA_ADDRESS,)
    try:
        return (str(ipaddress.ip_address(name.partition("%")[0])),)
    except ValueError:
        try:
            # `0x7f.1` and `2130706433` are 127.0.0.1 to whoever resolves the old way.
            return (socket.inet_ntoa(socket.inet_aton(name)),)
        except OSError:
            return ()


class EgressGuard:
    """Judges resolved addresses. Stateless; one per process is enough."""

    def check(self, addresses: tuple[str, ...], *, private_network: bool) -> tuple[str, ...]:
        """The addresses, if each of them is allowed.

        One bad address refuses all: a name that mixes them is not one to trust.

        Raises:
            UpstreamError: UPSTREAM_UNREACHABLE, phase `egress`, nothing sent.
        """
        for text in addresses:
            reason = refusal(ipaddress.ip_address(text.partition("%")[0]), private_network=private_network)
            if reason:
                raise _refused(reason)
        return addresses


def refusal(address: Address, *, private_network: bool) -> str:
    """Why this address is not connected to; empty if it is allowed."""
    if _is_in(address, NEVER):
        return "it is a link-local, metadata, multicast or reserved address"
    if address.version == 6 and address != ipaddress.IPv6Address("::1") and _is_in(address, CARRIERS):
        return "it is an IPv6 form that carries another address"
    if not private_network and (_is_in(address, PRIVATE) or not address.is_global):
        return "it is a loopback or private address, and the provider does not say private_network: true"
    return ""


def _is_in(address: Address, networks: tuple[Network, ...]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _refused(reason: str) -> UpstreamError:
    return broken(
        ErrorCode.UPSTREAM_UNREACHABLE,
        f"the target's address is not connected to: {reason}",
        sent=Sent.NO,
        phase="egress",
    )
