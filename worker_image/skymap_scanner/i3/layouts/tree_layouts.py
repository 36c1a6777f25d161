"""Layouts of simulated particles: the tree of all, and its form without the losses along tracks."""

from __future__ import annotations

from typing import Final

from skymap_scanner.i3.archive import UndescribedError
from skymap_scanner.i3.layouts.basic_layouts import F32, I32, PARTICLE, UINT32, UINT64
from skymap_scanner.i3.layouts.containers import CountedTree, LinkedTree, Node
from skymap_scanner.i3.layouts.keys import PARTICLE_ID
from skymap_scanner.i3.layouts.primitives import Class, Enumeration, Items, Member, pair
from skymap_scanner.i3.layouts.structures import each, frame_structure, structure
from skymap_scanner.i3.particle_types import ParticleType


def _with_distinct_ids(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """Return the nodes of a tree of version 0, unless two have the same id: IceTray would make up new ones."""
    ids = {(node.item.major_id, node.item.minor_id) for node in nodes}
    if len(ids) < len(nodes):
        raise UndescribedError("two particles of an I3MCTree of version 0 have the same id")
    return nodes


MC_TREE: Final = frame_structure(
    "I3MCTree",
    Member("value", CountedTree(PARTICLE), until=0, upgrade=_with_distinct_ids),
    Member("value", LinkedTree(PARTICLE), since=1),
    version=1,
)

#: A loss along a track: time (ns) after the parent's, energy (GeV).
STOCHASTIC: Final = structure(
    "I3Stochastic",
    *each(F32, "time energy"),
    Member("major_id", UINT64),
    Member("minor_id", I32),
    Member("type", Enumeration(ParticleType)),
)
#: How many of the stochastics belong to a particle of the tree, one after the other.
LEAVES: Final = Items(
    pair(PARTICLE_ID, UINT32, "std::pair<I3ParticleID, unsigned>"), "std::vector<std::pair<I3ParticleID, unsigned>>"
)
LINEARIZED_TREE: Final = frame_structure(
    "I3LinearizedMCTree",
    Member("tree", MC_TREE),
    Member("leaves", LEAVES),
    Member("stochastics", Items(STOCHASTIC, "std::vector<I3Stochastic>")),
    version=1,
    oldest=1,
)

#: The layouts, each with the type name that IceTray 1.18 shows.
CLASSES: Final[dict[Class, str]] = {
    MC_TREE: "TreeBase::Tree<I3Particle, I3ParticleID, i3hash<I3ParticleID> >",
    LINEARIZED_TREE: "I3LinearizedMCTree",
}
