"""The networks that a probe may connect to."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final, TypeAlias

from edge_redis._core import validation

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

PRIVATE: Final = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))
"""The networks that are allowed where the operator names none: those of sites, which the internet does not route."""

_KINDS: Final = {
    "unspecified": ("0.0.0.0/8", "::/128"),
    "loopback": ("127.0.0.0/8", "::1/128"),
    "link-local": ("169.254.0.0/16", "fe80::/10", "fec0::/10"),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "reserved": ("240.0.0.0/4",),
    "cloud metadata": (
        "169.254.169.254/32",  # most clouds
        "169.254.170.2/32",  # Amazon ECS
        "169.254.170.23/32",  # Amazon EKS
        "169.254.42.42/32",  # Scaleway
        "169.254.0.23/32",  # Tencent
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure
        "192.0.0.192/32",  # Oracle
        "fd00:ec2::/32",  # Amazon: metadata, credentials of pods, name and time servers
        "fd20:ce::254/128",  # Google
        "fd00:c1::a9fe:a9fe/128",  # Oracle
        "fd00:42::42/128",  # Scaleway
        "fd00:a9fe:a9fe::1/128",  # Linode
        "fd00:100::100:200/128",  # Alibaba
    ),
    "translated to IPv4": (  # the IPv4 address behind it may be any
        "::/96",
        "::ffff:0:0:0/96",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/32",
        "2002::/16",
    ),
}

REFUSED: Final = tuple((ip_network(text), kind) for kind, networks in _KINDS.items() for text in networks)
"""Networks that are refused unless the operator names them or a part of them, with the kind of each."""


def check_networks(networks: Iterable[str | Network]) -> tuple[Network, ...]:
    """Return networks, given as text such as ``"10.8.0.0/16"`` or as objects of ``ipaddress``."""
    if isinstance(networks, (str, bytes)) or not isinstance(networks, Iterable):
        raise validation.type_error("networks", networks, "a list of networks")
    found = tuple(map(_check_network, networks))
    if not found:
        raise validation.value_error("networks", [], "must name at least one network")
    return found


def _check_network(network: str | Network) -> Network:
    if not isinstance(network, (str, IPv4Network, IPv6Network)):
        raise validation.type_error("networks", network, "a list of networks as text")
    try:
        return ip_network(network)
    except ValueError as error:
        raise validation.value_error("networks", network, f"must be networks ({error})") from error


def unwrap(address: Address) -> Address:
    """Return the IPv4 address that an IPv4-mapped IPv6 address stands for, any other address as it is."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


class AllowedNetworks:
    """Decides which addresses a probe may connect to.

    An address is allowed if it is in one of the networks. Where it is also in a refused one, it must be in an allowed
    network that is part of the refused one: 0.0.0.0/0 allows no loopback address, 127.0.0.0/8 does.
    """

    def __init__(self, networks: Iterable[str | Network] | None) -> None:
        self._allowed = PRIVATE if networks is None else check_networks(networks)
        self._advice = " (private ones alone, as none is named)" if networks is None else ""

    def find_refusal(self, address: Address) -> str:
        """Return why a probe may not connect to an address; an empty text: it may."""
        named = [network for network in self._allowed if address in network]
        for refused, kind in REFUSED:
            if address in refused and not any(_is_part(network, refused) for network in named):
                return f"{address} is a {kind} address"
        return "" if named else f"{address} is in none of the allowed networks{self._advice}"


def _is_part(network: Network, whole: Network) -> bool:
    return network.version == whole.version and network.prefixlen >= whole.prefixlen  # both hold one address
