"""The numbers of the light model, each with its source. Units: metres, nanoseconds, GeV."""

from __future__ import annotations

import math

from skymap_scanner.i3.particle import SPEED_OF_LIGHT

# Refractive indices of South Pole ice at 400 nm (Price and Woschnagg, Astropart. Phys. 15 (2001) 97: polynomials in
# the wavelength in micrometres).
_WAVELENGTH = 0.4
N_PHASE = (
    1.55749 - 1.57988 * _WAVELENGTH + 3.99993 * _WAVELENGTH**2 - 4.68271 * _WAVELENGTH**3 + 2.09354 * _WAVELENGTH**4
)
N_GROUP = N_PHASE * (1 + 0.227106 - 0.954648 * _WAVELENGTH + 1.42568 * _WAVELENGTH**2 - 0.711832 * _WAVELENGTH**3)

#: Speed of light pulses in ice, m/ns.
C_ICE = SPEED_OF_LIGHT / N_GROUP
#: Cosine of the Cherenkov angle.
COS_CHERENKOV = 1 / N_PHASE
#: Extra path, per metre of distance from a track, of the Cherenkov light: t = (along + across * this) / c.
CHERENKOV_DELAY = (N_PHASE * N_GROUP - 1) / math.sqrt(N_PHASE**2 - 1)

# Emission of an electromagnetic cascade about its axis, dN/dcos ~ exp(-a |cos psi - cos Cherenkov|^b)
# (L. Radel and C. Wiebusch, Astropart. Phys. 44 (2013) 102).
EMISSION_A = 2.61
EMISSION_B = 0.39

#: Cherenkov photons per metre of track, 300-600 nm, weighted with the DOM's wavelength acceptance (IceTray, ppc).
PHOTONS_PER_METRE = 2450.08
#: Length of track, m, whose light an electromagnetic cascade of 1 GeV gives: 5.21 in ice of 0.924 g/cm3, taken to ice
#: of 0.9216 g/cm3 (IceTray, ppc).
METRES_PER_GEV = 5.21 * (0.924 / 0.9216)

#: Radius of the DOM's sphere, m (Abbasi et al., NIM A 618 (2010) 139).
DOM_RADIUS = 0.1651
#: Share of the photoelectrons kept: the mean charge of one above the discriminator (0.75), times what is left by losses
#: such as the cable's shadow (0.9) (IceTray, ppc).
DOM_EFFICIENCY = 0.75 * 0.9
#: Relative width of the charge that one photoelectron gives (Aartsen et al., JINST 15 (2020) P06032).
CHARGE_WIDTH = 0.3
#: Photoelectrons per GeV and unit fluence (1/m2, of one photon emitted), before the angular acceptance.
PE_PER_GEV = PHOTONS_PER_METRE * METRES_PER_GEV * math.pi * DOM_RADIUS**2 * DOM_EFFICIENCY

#: Angular acceptance with refrozen hole ice (IceTray, ice-models: "h2-50cm"): polynomial in cos eta, rising powers; +1
#: is light going up.
ACCEPTANCE = (0.32813, 0.63899, 0.20049, -1.2250, -0.14470, 4.1695, 0.76898, -5.8690, -2.0939, 2.3834, 1.0435)

#: Spread of a photon's recorded time: PMT jitter, pulse unfolding, the length of a cascade. Standard deviation 6.4 ns,
#: as a binomial distribution of 9 values within +-TIME_SMEAR ns; smooth, because its steps become steps of -ln L.
TIME_SMEAR = 18.0

# The ice of the photon table: homogeneous; every other ice is scaled to it (docs/explanation/likelihood.md).
TABLE_SCATTERING = 25.0  #: effective scattering length, m
TABLE_ABSORPTION = 87.5  #: absorption length, m: the ratio 3.5 holds within 10 % at all depths of the South Pole ice
#: Mean cosine of a single scatter (SPICE Mie, arXiv:1301.5361).
SCATTERING_G = 0.9
#: Share of the simplified Liu phase function, the rest is Henyey-Greenstein (SPICE Mie, arXiv:1301.5361).
LIU_SHARE = 0.45
