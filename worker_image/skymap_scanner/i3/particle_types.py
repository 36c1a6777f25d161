"""The names that IceTray gives to particle types (I3Particle::ParticleType)."""

from __future__ import annotations

from enum import IntEnum


def _nuclei(protons: int, lightest: int, heaviest: int) -> range:
    """Return the PDG codes of an element's isotopes, by mass number."""
    return range(1_000_000_000 + 10_000 * protons + 10 * lightest, 1_000_000_001 + 10_000 * protons + 10 * heaviest, 10)


class ParticleType(IntEnum):
    """I3Particle::ParticleType: PDG codes, and IceTray's own beyond 2,000,000,000. Others stay plain numbers."""

    unknown = 0

    # leptons and bosons
    EPlus, EMinus = -11, 11
    MuPlus, MuMinus = -13, 13
    TauPlus, TauMinus = -15, 15
    NuE, NuEBar = 12, -12
    NuMu, NuMuBar = 14, -14
    NuTau, NuTauBar = 16, -16
    Gamma, Z0, WPlus, WMinus = 22, 23, 24, -24

    # mesons
    Pi0, PiPlus, PiMinus = 111, 211, -211
    K0_Long, K0_Short, KPlus, KMinus = 130, 310, 321, -321
    Eta, EtaPrime958, Omega782, Phi1020 = 221, 331, 223, 333
    Rho7700, Rho770Plus, Rho770Minus = 113, 213, -213
    KStar8920, KStar892Bar0, KStar892Plus, KStar892Minus = 313, -313, 323, -323
    DPlus, DMinus, D0, D0Bar = 411, -411, 421, -421
    DsPlus, DsMinusBar, DsStarPlus, DsStarMinus = 431, -431, 433, -433
    DStar2010Plus, DStar2010Minus, DStar20070, DStar2007Bar0 = 413, -413, 423, -423
    Etac1S, Jpsi1S = 441, 443
    BZero, BBar0, BPlus, BMinus = 511, -511, 521, -521
    Bs0, BsBar0, BcPlus, BcMinus = 531, -531, 541, -541

    # baryons
    Neutron, NeutronBar, PPlus, PMinus = 2112, -2112, 2212, -2212
    Delta1232Minus, Delta12320, Delta1232Plus, Delta1232PlusPlus = 1114, 2114, 2214, 2224
    Delta1232BarPlus, Delta1232Bar0, Delta1232BarMinus, Delta1232BarMinusMinus = -1114, -2114, -2214, -2224
    Lambda, LambdaBar = 3122, -3122
    SigmaPlus, Sigma0, SigmaMinus = 3222, 3212, 3112
    SigmaMinusBar, Sigma0Bar, SigmaPlusBar = -3222, -3212, -3112
    Xi0, XiMinus, Xi0Bar, XiPlusBar = 3322, 3312, -3322, -3312
    OmegaMinus, OmegaPlusBar = 3334, -3334
    LambdacPlus, LambdacBarMinus = 4122, -4122
    Sigmac24550, Sigmac2455Plus, Sigmac2455PlusPlus = 4112, 4212, 4222
    Sigmac2455Bar0, Sigmac2455BarMinus, Sigmac2455BarMinusMinus = -4112, -4212, -4222
    Sigmac25200, Sigmac2520Plus, Sigmac2520PlusPlus = 4114, 4214, 4224
    Sigmac2520Bar0, Sigmac2520BarMinus, Sigmac2520BarMinusMinus = -4114, -4214, -4224
    Xic0, XicBar0, XicPlus, XicBarMinus = 4132, -4132, 4232, -4232
    XicPrime0, XicPrimeBar0, XicPrimePlus, XicPrimeBarMinus = 4312, -4312, 4322, -4322
    Omegac0, OmegacBar0 = 4332, -4332
    Lambdab0, LambdabBar0 = 5122, -5122
    SigmabMinus, SigmabBarPlus, SigmabPlus, SigmabBarMinus = 5112, -5112, 5222, -5222
    XibMinus, XibBarPlus, Xib0, XibBar0 = 5132, -5132, 5232, -5232
    OmegabMinus, OmegabBarPlus = 5332, -5332

    # nuclei
    H2Nucleus, H3Nucleus = _nuclei(1, 2, 3)
    He3Nucleus, He4Nucleus, He5Nucleus, He6Nucleus = _nuclei(2, 3, 6)
    Li5Nucleus, Li6Nucleus, Li7Nucleus = _nuclei(3, 5, 7)
    (Be9Nucleus,) = _nuclei(4, 9, 9)
    B10Nucleus, B11Nucleus = _nuclei(5, 10, 11)
    C12Nucleus, C13Nucleus = _nuclei(6, 12, 13)
    N14Nucleus, N15Nucleus = _nuclei(7, 14, 15)
    O16Nucleus, O17Nucleus, O18Nucleus = _nuclei(8, 16, 18)
    (F19Nucleus,) = _nuclei(9, 19, 19)
    Ne20Nucleus, Ne21Nucleus, Ne22Nucleus = _nuclei(10, 20, 22)
    (Na23Nucleus,) = _nuclei(11, 23, 23)
    Mg24Nucleus, Mg25Nucleus, Mg26Nucleus = _nuclei(12, 24, 26)
    Al26Nucleus, Al27Nucleus = _nuclei(13, 26, 27)
    Si28Nucleus, Si29Nucleus, Si30Nucleus, Si31Nucleus, Si32Nucleus = _nuclei(14, 28, 32)
    P31Nucleus, P32Nucleus, P33Nucleus = _nuclei(15, 31, 33)
    S32Nucleus, S33Nucleus, S34Nucleus, S35Nucleus, S36Nucleus = _nuclei(16, 32, 36)
    Cl35Nucleus, Cl36Nucleus, Cl37Nucleus = _nuclei(17, 35, 37)
    Ar36Nucleus, Ar37Nucleus, Ar38Nucleus, Ar39Nucleus, Ar40Nucleus, Ar41Nucleus, Ar42Nucleus = _nuclei(18, 36, 42)
    K39Nucleus, K40Nucleus, K41Nucleus = _nuclei(19, 39, 41)
    Ca40Nucleus, Ca41Nucleus, Ca42Nucleus, Ca43Nucleus, Ca44Nucleus = _nuclei(20, 40, 44)
    Ca45Nucleus, Ca46Nucleus, Ca47Nucleus, Ca48Nucleus = _nuclei(20, 45, 48)
    Sc44Nucleus, Sc45Nucleus, Sc46Nucleus, Sc47Nucleus, Sc48Nucleus = _nuclei(21, 44, 48)
    Ti44Nucleus, Ti45Nucleus, Ti46Nucleus, Ti47Nucleus, Ti48Nucleus, Ti49Nucleus, Ti50Nucleus = _nuclei(22, 44, 50)
    V48Nucleus, V49Nucleus, V50Nucleus, V51Nucleus = _nuclei(23, 48, 51)
    Cr50Nucleus, Cr51Nucleus, Cr52Nucleus, Cr53Nucleus, Cr54Nucleus = _nuclei(24, 50, 54)
    Mn52Nucleus, Mn53Nucleus, Mn54Nucleus, Mn55Nucleus = _nuclei(25, 52, 55)
    Fe54Nucleus, Fe55Nucleus, Fe56Nucleus, Fe57Nucleus, Fe58Nucleus = _nuclei(26, 54, 58)

    # exotic particles, and what IceTray has codes of its own for
    Qball = 10_000_000
    CherenkovPhoton = 2_000_009_900
    Nu = -2_000_000_004
    Monopole = -2_000_000_041
    Brems, DeltaE, PairProd, NuclInt = -2_000_001_001, -2_000_001_002, -2_000_001_003, -2_000_001_004
    MuPair, Hadrons, WeakInt = -2_000_001_005, -2_000_001_006, -2_000_001_007
    ContinuousEnergyLoss = -2_000_001_111
    FiberLaser, N2Laser, YAGLaser = -2_000_002_100, -2_000_002_101, -2_000_002_201
    STauPlus, STauMinus = -2_000_009_131, -2_000_009_132
    SMPPlus, SMPMinus = -2_000_009_500, -2_000_009_501
