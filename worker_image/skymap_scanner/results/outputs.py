"""Write all files of a result under the names that readers expect."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal, get_args

from skymap_api.names import RESULT_FORMATS
from skymap_scanner.atomic_file import make_folder, write_atomically
from skymap_scanner.errors import InputError, TooLittleMemoryError
from skymap_scanner.results.result import ScanResult, result_to_json, result_to_npz
from skymap_scanner.results.rule import WILKS, ContourRule

if TYPE_CHECKING:
    from skymap_scanner.results.contours import Contour
    from skymap_scanner.results.overlay import Overlay
    from skymap_scanner.results.skymap import MultiOrderMap

log = logging.getLogger(__name__)

#: Kinds of files that the pictures are written as.
ImageKind = Literal["png", "pdf", "svg"]
IMAGE_KINDS: tuple[ImageKind, ...] = get_args(ImageKind)
#: Formats that need a package of an extra: the package, and the extra.
_NEEDS = {"png": ("matplotlib", "plots")}
#: Longest name of an event in the name of a file (characters).
LONGEST_NAME = 100


@dataclass(frozen=True)
class Pictures:
    """How pictures are drawn: the kinds of their files, and their overlay."""

    images: Sequence[ImageKind]
    overlay: Overlay | None


def check_formats(formats: Collection[str]) -> None:
    """Raise InputError for an unknown format, or one that needs a package that is not installed."""
    unknown = sorted(set(formats) - set(RESULT_FORMATS))
    if unknown:
        raise InputError(f"unknown format {unknown[0]!r}; choose from {', '.join(RESULT_FORMATS)}")
    for name in _not_installed(formats):
        raise InputError(f"{_explain(name)}, or choose other formats")


def choose_formats(formats: Collection[str] = ()) -> tuple[str, ...]:
    """Return the formats to write: those given, or all that the installed packages can write.

    Raises InputError as `check_formats`. Formats that are left out are logged.
    """
    if formats:
        check_formats(formats)
        return tuple(formats)
    missing = _not_installed(RESULT_FORMATS)
    for name in missing:
        log.warning("%s; skymap-scanner plot writes it later, from the json or npz file", _explain(name))
    return tuple(name for name in RESULT_FORMATS if name not in missing)


def _not_installed(formats: Collection[str]) -> list[str]:
    return [name for name, (package, _) in _NEEDS.items() if name in formats and find_spec(package) is None]


def _explain(name: str) -> str:
    package, extra = _NEEDS[name]
    return f"the format {name} is not written without {package}: pip install 'skymap-scanner[{extra}]'"


def write_results(
    result: ScanResult,
    folder: Path,
    formats: Collection[str] | None = None,
    *,
    rule: ContourRule | None = None,
    images: Sequence[ImageKind] = ("png",),
    overlay: Overlay | None = None,
    lvk_version: int | None = None,
) -> list[Path]:
    """Write the files of a result into ``folder``, created if missing, and return their paths.

    ``formats`` are some of RESULT_FORMATS; None means all that the installed packages can write. ``rule``: how
    contours are drawn; None means as the result states, and by Wilks' theorem where it states nothing. The files of
    another rule than the result's have it in their names. ``images`` are the kinds of files of the format png, and
    ``overlay`` is laid over them. Maps are named by event and ``lvk_version`` if it is given. Without a fitted pixel
    there is no map, and only json, npz and the summary are written. Raises InputError as `check_formats`, when the
    folder cannot be written to, or when there is not enough memory.
    """
    formats = choose_formats(formats or ())
    try:
        make_folder(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot make this folder ({error.strerror})") from error
    written: list[Path] = []
    stated = result.metadata.rule or WILKS
    rule = stated if rule is None or rule.name == stated.name else rule
    for suffix, encode in _files(result, formats, rule, Pictures(images, overlay)).items():
        path = folder / (f"{result.stem}{suffix}" if lvk_version is None else lvk_name(result, suffix, lvk_version))
        try:
            written.append(write_atomically(path, encode()))
        except MemoryError as error:
            raise TooLittleMemoryError(
                f"{path.name}: there is not enough memory to make it; choose other formats"
            ) from error
    return written


def lvk_name(result: ScanResult, suffix: str, version: int) -> str:
    """Return the name of a map of this suffix as LVK numbers them, ``IceCube-231202A.multiorder.fits,0``.

    Other files, and those of another rule, keep their names.
    """
    endings = [("", ".multiorder.fits", ".multiorder.fits"), (".skymap_nside_", "_probability.fits.gz", ".fits.gz")]
    ending = next((new for start, end, new in endings if suffix.startswith(start or end) and suffix.endswith(end)), "")
    if not ending:
        return f"{result.stem}{suffix}"
    name = re.sub(r"[^A-Za-z0-9+.-]", "-", result.metadata.name)[:LONGEST_NAME].strip(".-")
    return f"{name or result.stem}{ending},{version}"


def _files(
    result: ScanResult, formats: Collection[str], rule: ContourRule, pictures: Pictures
) -> dict[str, Callable[[], bytes | Iterable[bytes]]]:
    """Return the suffix of each requested file, and the function that makes its content, perhaps in pieces.

    Files that depend on the rule have it in their names if the result states another.
    """
    files: dict[str, Callable[[], bytes | Iterable[bytes]]] = {}
    if "json" in formats:
        files[".json"] = lambda: result_to_json(result)
    if "npz" in formats:
        files[".npz"] = lambda: result_to_npz(result)
    if not set(formats) - {"json", "npz"}:
        return files
    # Heavy libraries are imported only for the formats that need them.
    from skymap_scanner.results.contours import contours  # noqa: PLC0415
    from skymap_scanner.results.fits_files import flat_fits, multi_order_fits  # noqa: PLC0415
    from skymap_scanner.results.geojson import to_geojson  # noqa: PLC0415
    from skymap_scanner.results.moc import moc_files  # noqa: PLC0415
    from skymap_scanner.results.skymap import multi_order_map  # noqa: PLC0415
    from skymap_scanner.results.summary import summary_json, summary_text  # noqa: PLC0415

    fitted = sum(map(len, result.failed.values())) < result.scanned
    skymap = multi_order_map(result, rule) if fitted else None
    regions = contours(skymap) if skymap else []
    named = "" if rule == (result.metadata.rule or WILKS) else f".{rule.name}"
    if "summary" in formats:
        files[f"{named}.summary.txt"] = lambda: summary_text(result, skymap, regions).encode()
        files[f"{named}.summary.json"] = lambda: summary_json(result, skymap, regions)
    if skymap is None:
        return files
    if "fits" in formats:
        files[f"{named}.multiorder.fits"] = lambda: multi_order_fits(result, skymap, regions)
    if "flat-fits" in formats:
        name = f"{named}.skymap_nside_{2**skymap.max_order}_probability.fits.gz"
        files[name] = lambda: flat_fits(result, skymap, regions)
    if "geojson" in formats:
        files[f"{named}.contours.geojson"] = lambda: json.dumps(to_geojson(result, skymap, regions)).encode()
    if "moc" in formats:
        files |= {f"{named}{suffix}": encode for suffix, encode in moc_files(result, skymap, regions).items()}
    if "png" in formats:
        zoomed = ".plot_zoomed_wilks" if not named and rule.name == WILKS.name else f"{named}.plot_zoomed"
        names = {f"{named}.plot_allsky": "all_sky", zoomed: "zoomed"}
        files |= _picture_files(names, result, skymap, regions, pictures)
    return files


def _picture_files(
    names: Mapping[str, str],
    result: ScanResult,
    skymap: MultiOrderMap,
    regions: Sequence[Contour],
    pictures: Pictures,
) -> dict[str, Callable[[], bytes]]:
    """Return the files of the pictures; ``names`` maps them to their functions."""
    overlay = () if pictures.overlay is None else (pictures.overlay,)

    def draw(function: str, kind: ImageKind) -> bytes:
        content: bytes = getattr(_plots(), function)(result, skymap, regions, kind, *overlay)
        return content

    return {
        f"{name}.{kind}": partial(draw, function, kind) for kind in pictures.images for name, function in names.items()
    }


def _plots() -> ModuleType:
    """Import the plots, which alone need matplotlib; raises InputError if what is installed cannot be imported."""
    try:
        from skymap_scanner.results import plots  # noqa: PLC0415
    except ImportError as error:
        raise InputError(
            f"matplotlib cannot be imported ({error}): install skymap-scanner[plots] again, or choose other formats "
            "than png"
        ) from error
    return plots
