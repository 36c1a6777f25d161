"""Network cuts: rules in the node's network namespace drop matching packets in both directions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from testing.faults.node import Node

TABLE = "inet skymap_faults"


@dataclass(frozen=True)
class Service:
    """A server by its address and ports."""

    address: str
    ports: Sequence[int]


def rules(service: Service, everybody: bool) -> str:
    """Return the rules that drop packets between a server and everybody, or the addresses in the set ``cut``; pure.

    Priority -10: before kube-proxy's filters, and after its translation of Services (-100).
    """
    ports = ", ".join(map(str, service.ports))
    to = f"ip daddr {service.address} tcp dport {{ {ports} }}"
    back = f"ip saddr {service.address} tcp sport {{ {ports} }}"
    here, there = ("", "") if everybody else ("ip saddr @cut ", "ip daddr @cut ")
    chains = "\n".join(
        f"  chain {hook} {{ type filter hook {hook} priority -10; {here}{to} drop; {there}{back} drop; }}"
        for hook in ("input", "forward", "output")
    )
    return f"table {TABLE} {{\n  set cut {{ type ipv4_addr; }}\n{chains}\n}}\n"


@contextmanager
def cut(node: Node, service: Service, addresses: Callable[[], set[str]] | None = None) -> Iterator[None]:
    """Cut everybody in the node, or the clients with these addresses, off from a server until the block ends."""
    node.run("nft", "-f", "-", stdin=rules(service, everybody=addresses is None))
    done = threading.Event()
    following = threading.Thread(target=_follow, args=(node, addresses or set, done))
    try:
        following.start()
        yield
    finally:
        done.set()
        following.join()
        node.run("nft", "delete", "table", *TABLE.split())


def remove_cut(node: Node) -> None:
    """Remove a cut that an interrupted cell has left."""
    if TABLE in node.run("nft", "list", "tables"):
        node.run("nft", "delete", "table", *TABLE.split())


def _follow(node: Node, addresses: Callable[[], set[str]], done: threading.Event) -> None:
    """Add the addresses of new pods to the set, so that restarted pods are cut off, too."""
    known: set[str] = set()
    while True:
        new = addresses() - known
        if new:
            node.run("nft", "add", "element", *TABLE.split(), "cut", "{", ", ".join(sorted(new)), "}")
            known |= new
        if done.wait(0.2):
            return
