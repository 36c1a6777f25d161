"""``skymap-scanner simulate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from skymap_scanner.event.model import Event


@click.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--topology",
    type=click.Choice(["track", "cascade"]),
    default="track",
    show_default=True,
    help="A muon that crosses the detector, or one shower.",
)
@click.option("--ra", type=float, help="Right ascension, degrees (J2000).  [default: drawn over the sky]")
@click.option("--dec", type=float, help="Declination, degrees (J2000).  [default: drawn over the sky]")
@click.option(
    "--energy",
    type=float,
    default=1e5,
    show_default=True,
    help="GeV: a cascade's visible energy, a muon's on its way in.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random numbers; also the event's number.")
@click.option(
    "--vertex",
    metavar="X,Y,Z",
    help="Where the cascade is, or a point on the muon's line; m.  [default: drawn inside the detector]",
)
@click.option("--ice", default="spice_mie", show_default=True, help="Ice model: spice_mie, spice_lea or spice_ftp_v3m.")
@click.option("--mjd", type=float, help="Time of the event (UTC, days).  [default: 60310, 2024-01-01]")
@click.option("--demo", is_flag=True, help="Make the demo event, with nothing drawn or chosen.")
def command(out: Path, vertex: str | None, mjd: float | None, demo: bool, **given: Any) -> None:
    """Make an event with a known direction and write it to OUT (.i3, .i3.zst, .i3.gz, .i3.bz2 or .i3.xz).

    The truth stands in the event's P frame (MCTrack and others). The same options give the same event.

    \b
    Examples:
        skymap-scanner simulate track.i3.zst --ra 77.4 --dec 5.7 --energy 1e5 --seed 3
        skymap-scanner simulate cascade.i3.zst --topology cascade --energy 3e5 --vertex 10,-50,-300
        skymap-scanner run track.i3.zst -o result/
    """
    from skymap_scanner.i3 import FrameWriter
    from skymap_scanner.simulation import DEMO, simulate

    if demo:
        _refuse_options_beside_demo()
        arguments = dict(DEMO)
    else:
        arguments = given | {"vertex": None if vertex is None else _parse_vertex(vertex)}
        if mjd is not None:
            arguments["mjd"] = mjd
    event = simulate(**arguments)
    with FrameWriter(out) as writer:
        for frame in event.frames.values():
            writer.write(frame)
    click.echo(_describe(event))
    click.echo(f"  in         {out}")


def _parse_vertex(text: str) -> tuple[float, float, float]:
    from skymap_scanner.errors import InputError

    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--vertex {text!r} is not X,Y,Z in metres, such as 10,-50,-300") from None
    return x, y, z


def _refuse_options_beside_demo() -> None:
    context = click.get_current_context()
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name not in {"out", "demo"} and source is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--demo and {parameter.opts[-1]} exclude each other")


def _describe(event: Event) -> str:
    """Say what is true of the event, and what was seen of it."""
    import math

    from skymap_scanner.event.lookup import nearest_first
    from skymap_scanner.event.preparation import choose_series
    from skymap_scanner.i3 import resolve_pulses
    from skymap_scanner.simulation import read_truth

    truth = read_truth(event.frames["P"])
    assert truth is not None  # noqa: S101 - it has just been simulated
    pulses = resolve_pulses(choose_series(event.frames), nearest_first(event.frames))
    x, y, z = truth.vertex
    zenith, azimuth = math.degrees(truth.zenith), math.degrees(truth.azimuth)
    return "\n".join(
        [
            f"{event.name}",
            f"  {truth.topology:<9}  {truth.energy:g} GeV, of which {truth.losses.energy.sum():.0f} GeV gave light",
            f"  from       ra {truth.ra:.4f}, dec {truth.dec:+.4f} deg (zenith {zenith:.3f}, azimuth {azimuth:.3f})",
            f"  vertex     ({x:.1f}, {y:.1f}, {z:.1f}) m at {truth.time:.0f} ns",
            f"  seen       {pulses.charge.sum():.0f} pe in {len(list(pulses.doms()))} DOMs, {len(pulses)} pulses",
            f"  ice        {truth.ice}",
        ]
    )
