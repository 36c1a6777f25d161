"""Particle types as I3Particle had them before version 5, turned into PDG codes as IceTray turns them."""

from __future__ import annotations

from typing import Final

from skymap_scanner.i3.particle_types import ParticleType

#: What IceTray has codes of its own for: the old ones without this.
_OWN: Final = -2_000_000_000
_TYPES: Final = {int(kind): kind for kind in ParticleType}


def _by_number(names: str) -> dict[int, ParticleType]:
    """Read pairs of number and name."""
    words = iter(names.split())
    return {int(number): ParticleType[name] for number, name in zip(words, words, strict=True)}


#: Up to version 2, codes of RDMC.
_RDMC: Final = _by_number("""
    1 Gamma  2 EPlus  3 EMinus  5 MuPlus  6 MuMinus  7 Pi0  8 PiPlus  9 PiMinus  11 KPlus  12 KMinus  14 PPlus
    15 PMinus  33 TauPlus  34 TauMinus  201 NuE  202 NuMu  203 NuTau  204 NuEBar  205 NuMuBar  206 NuTauBar
""")
_RDMC_OWN: Final = frozenset((4, 41, 1001, 1002, 1003, 1004, 1005, 1006, 2100, 2101, 2201))
#: The mass number of the isotope that stands for 2, 3, ... protons (RDMC code 3002, 3003, ...).
_RDMC_NUCLEI: Final = dict(
    enumerate((4, 7, 9, 11, 12, 14, 16, 19, 20, 23, 24, 27, 28, 31, 32, 35, 40, 39, 40, 45, 48, 51, 52, 55, 56), 2)
)

#: In versions 3 and 4, codes of CORSIKA.
_CORSIKA: Final = _by_number("""
    1 Gamma  2 EPlus  3 EMinus  5 MuPlus  6 MuMinus  7 Pi0  8 PiPlus  9 PiMinus  10 K0_Long  11 KPlus  12 KMinus
    13 Neutron  14 PPlus  15 PMinus  16 K0_Short  17 Eta  18 Lambda  19 SigmaPlus  20 Sigma0  21 SigmaMinus  22 Xi0
    23 XiMinus  24 OmegaMinus  25 NeutronBar  26 LambdaBar  27 SigmaMinusBar  28 Sigma0Bar  29 SigmaPlusBar  30 Xi0Bar
    31 XiPlusBar  32 OmegaPlusBar  35 DPlus  36 DMinus  37 D0  38 D0Bar  39 DsPlus  40 DsMinusBar  41 LambdacPlus
    42 WPlus  43 WMinus  44 Z0  66 NuE  67 NuEBar  68 NuMu  69 NuMuBar  131 TauPlus  132 TauMinus  133 NuTau
    134 NuTauBar  9900 CherenkovPhoton
""")


def from_rdmc(code: int) -> ParticleType:
    """Return the type of a particle of version 1 or 2; ``unknown`` where it had none."""
    if code in _RDMC_OWN:
        return ParticleType(_OWN - code)
    if code - 3000 in _RDMC_NUCLEI:
        return _nucleus(code - 3000, _RDMC_NUCLEI[code - 3000])
    return _RDMC.get(code, ParticleType.unknown)


def from_corsika(code: int) -> ParticleType:
    """Return the type of a particle of version 3 or 4; ``unknown`` where it had none."""
    if code < 0:
        return _known(_OWN + code)
    if code in _CORSIKA or code < 300:
        return _CORSIKA.get(code, ParticleType.unknown)
    return _nucleus(protons=code % 100, nucleons=code // 100)


def _nucleus(protons: int, nucleons: int) -> ParticleType:
    return _known(1_000_000_000 + 10_000 * protons + 10 * nucleons)


def _known(code: int) -> ParticleType:
    return _TYPES.get(code, ParticleType.unknown)
