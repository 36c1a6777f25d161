"""``skymap-scanner simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from skymap_api.text import printable_line
from skymap_scanner.cli.options import typed_options

if TYPE_CHECKING:
    from skymap_scanner.event.model import Event
    from skymap_scanner.simulation import Variation


@click.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--topology",
    type=click.Choice(["track", "cascade"]),
    default="track",
    show_default=True,
    help="A track is a muon that crosses the detector, a cascade one shower.",
)
@click.option("--ra", type=float, help="Right ascension, degrees (J2000).  [default: random]")
@click.option("--dec", type=float, help="Declination, degrees (J2000).  [default: random]")
@click.option(
    "--energy",
    type=float,
    default=1e5,
    show_default=True,
    help="Energy in GeV: visible for a cascade, on entering the detector for a muon.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed, and number of the event.")
@click.option(
    "--vertex",
    metavar="X,Y,Z",
    help="Position of the cascade, or a point on the muon's track, in metres.  [default: random in the detector]",
)
@click.option("--ice", default="spice_mie", show_default=True, help="Ice model: spice_mie, spice_lea or spice_ftp_v3m.")
@click.option(
    "--light",
    type=click.Choice(["table", "propagated"]),
    default="table",
    show_default=True,
    help="Light from the fit's photon table, or from photons followed one by one, independent of the fit.",
)
@click.option(
    "--muons",
    type=int,
    default=1,
    show_default=True,
    help="Muons that share a track's energy, with --light propagated.",
)
@click.option("--scattering", type=float, default=1.0, show_default=True, help="Factor on the scattering length.")
@click.option("--absorption", type=float, default=1.0, show_default=True, help="Factor on the absorption length.")
@click.option("--efficiency", type=float, default=1.0, show_default=True, help="Factor on the DOMs' efficiency.")
@click.option(
    "--hole-ice",
    type=float,
    default=0.0,
    show_default=True,
    help="Angular acceptance, from that of the fit (0) to that of SPICE FTP v3m (1).",
)
@click.option(
    "--anisotropy",
    type=float,
    default=1.0,
    show_default=True,
    help="Factor on the anisotropy, by which light goes farther along the flow of the ice.",
)
@click.option("--mjd", type=float, help="Time of the event (UTC, days).  [default: 60310, 2024-01-01]")
@click.option("--demo", is_flag=True, help="Make the demo event; no other option is allowed.")
def command(
    out: Path,
    vertex: str | None,
    mjd: float | None,
    demo: bool,
    scattering: float,
    absorption: float,
    efficiency: float,
    hole_ice: float,
    anisotropy: float,
    **given: Any,
) -> None:
    """Simulate an event with a known direction and write it to OUT (.i3, .i3.zst, .i3.gz, .i3.bz2 or .i3.xz).

    The P frame holds the simulated truth (MCTrack and others). The same options give the same event.

    \b
    Examples:
        skymap-scanner simulate track.i3.zst --ra 77.4 --dec 5.7 --energy 1e5 --seed 3
        skymap-scanner simulate cascade.i3.zst --topology cascade --energy 3e5 --vertex 10,-50,-300
        skymap-scanner run track.i3.zst -o result/
    """
    from skymap_scanner.i3 import FrameWriter
    from skymap_scanner.simulation import DEMO, Variation, simulate

    if demo:
        _reject_options_beside_demo()
        arguments = dict(DEMO)
    else:
        arguments = given | {"vertex": None if vertex is None else _parse_vertex(vertex)}
        arguments["variation"] = Variation(scattering, absorption, efficiency, hole_ice, anisotropy)
        if mjd is not None:
            arguments["mjd"] = mjd
    event = simulate(**arguments)
    with FrameWriter(out) as writer:
        for frame in event.frames.values():
            writer.write(frame)
    click.echo(_describe(event))
    click.echo(f"  file       {printable_line(str(out))}")


def _parse_vertex(text: str) -> tuple[float, float, float]:
    from skymap_scanner.errors import InputError

    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--vertex {text!r} is not X,Y,Z in metres, such as 10,-50,-300") from None
    return x, y, z


def _reject_options_beside_demo() -> None:
    for name, option in typed_options().items():
        if name not in {"out", "demo"}:
            raise click.UsageError(f"--demo and {option} exclude each other: give one of them")


def _describe(event: Event) -> str:
    """Describe the simulated truth and the detected light."""
    import math

    from skymap_scanner.event.lookup import nearest_first
    from skymap_scanner.event.preparation import choose_series
    from skymap_scanner.i3 import resolve_pulses
    from skymap_scanner.simulation import read_truth

    truth = read_truth(event.frames["P"])
    assert truth is not None  # noqa: S101 - just simulated
    pulses = resolve_pulses(choose_series(event.frames), nearest_first(event.frames))
    x, y, z = truth.vertex
    zenith, azimuth = math.degrees(truth.zenith), math.degrees(truth.azimuth)
    return "\n".join(
        [
            printable_line(event.name),
            f"  {truth.topology:<9}  {truth.energy:g} GeV, {truth.losses.energy.sum():.0f} GeV deposited",
            f"  from       ra {truth.ra:.4f}, dec {truth.dec:+.4f} deg (zenith {zenith:.3f}, azimuth {azimuth:.3f})",
            f"  vertex     ({x:.1f}, {y:.1f}, {z:.1f}) m at {truth.time:.0f} ns",
            f"  seen       {pulses.charge.sum():.0f} pe in {len(list(pulses.doms()))} DOMs, {len(pulses)} pulses",
            f"  ice        {truth.ice}",
            f"  light      {truth.light}{'' if truth.muons == 1 else f', {truth.muons} muons'}",
            f"  physics    {_describe_variation(truth.variation)}",
        ]
    )


def _describe_variation(variation: Variation) -> str:
    """Name what differs from the nominal physics."""
    if variation.is_nominal:
        return "nominal"
    return ", ".join(f"{name} {value:g}" for name, value in variation.as_dict().items())
