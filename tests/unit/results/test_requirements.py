"""What the files of a scan will take is known before the first fit, and is never less than what they then take."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skymap_api.names import RESULT_FORMATS
from skymap_scanner.errors import InputError, TooLittleMemoryError
from skymap_scanner.results import write_results
from skymap_scanner.results.requirements import (
    FORMAT_DISK,
    FORMAT_MEMORY,
    MIB,
    Room,
    choose_writable,
    flat_map_disk,
    in_words,
    requirements,
)

#: Pixels of a scan of 8:0 64:12 512:12 2048:12.
DEEP = {8: 768, 64: 768, 512: 768, 2048: 192}
HUGE = {512: 12 * 512**2}


@pytest.mark.parametrize("plan", [((32, 0),), ((4, 0), (64, 3), (1024, 3))])
def test_files_take_no_more_than_was_foreseen(scan, bowl, tmp_path, plan):
    result = scan(bowl(138.65, 0.15, 3.0), plan)
    need = requirements({nside: len(rows) for nside, rows in result.levels.items()}, 0)
    for name in RESULT_FORMATS:
        if name != "png":  # whose images are not Python's memory
            tracemalloc.start()
        written = write_results(result, tmp_path / name, [name])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert sum(path.stat().st_size for path in written) <= need.format_disk[name]
        assert peak <= need.format_memory[name]


def test_flat_map_of_noise_takes_no_more_than_was_foreseen(scan, tmp_path):
    """Neighbouring pixels that have nothing in common compress worst."""
    random = np.random.default_rng(3)
    result = scan(lambda ra, _: random.uniform(0, 30, len(ra)), ((64, 0),))
    (path,) = write_results(result, tmp_path, ["flat-fits"])
    assert path.stat().st_size <= flat_map_disk({64: 12 * 64**2})


def test_every_format_has_its_figures():
    assert set(FORMAT_MEMORY) == set(FORMAT_DISK) == set(RESULT_FORMATS)


def test_deep_map_fits_into_a_role_of_a_cluster():
    """Whose limit is 2 GiB by default; in memory, the flat map at nside 8192 would take 6 GiB alone."""
    deepest = DEEP | {8192: 192}
    assert choose_writable(RESULT_FORMATS, requirements(deepest, 3000), Room(2048 * MIB, 200 * MIB), named=False) == (
        RESULT_FORMATS,
        [],
    )


def test_formats_without_room_are_left_out_with_a_reason():
    need = requirements(DEEP, 2496)
    written, reasons = choose_writable(RESULT_FORMATS, need, Room(memory=300 * MIB), named=False)
    assert written == tuple(name for name in RESULT_FORMATS if name != "png")
    assert reasons == ["the format png is left out: it needs up to 542 MiB of memory, and the limit is 300 MiB"]
    room = Room(disk=need.disk_of(["json", "npz", "summary"]) + 1000)
    written, reasons = choose_writable(RESULT_FORMATS, need, room, named=False)
    assert written == ("json", "npz", "summary")
    assert reasons[0].startswith(
        "the format fits is left out: it needs up to 17 MiB of disk with those before it, and 15 "
    )


def test_named_format_without_room_is_an_error():
    need = requirements(DEEP, 2496)
    with pytest.raises(InputError, match=r"the format png needs up to 542 MiB of memory, .*; choose other formats"):
        choose_writable(["json", "png"], need, Room(memory=300 * MIB), named=True)


def test_scan_without_room_is_an_error_whatever_its_formats():
    with pytest.raises(InputError, match="need up to 7610 MiB of memory, and the limit is 2048 MiB: scan fewer"):
        choose_writable(RESULT_FORMATS, requirements(HUGE, 0), Room(memory=2048 * MIB), named=False)
    with pytest.raises(InputError, match="of disk, and 1 MiB is free: make room"):
        choose_writable(["json"], requirements(DEEP, 2496), Room(disk=MIB), named=True)


@pytest.mark.parametrize("named", [False, True])
def test_scan_without_room_for_any_format_is_an_error(named):
    need = requirements(DEEP, 2496)
    with pytest.raises(TooLittleMemoryError, match="format"):
        choose_writable(RESULT_FORMATS, need, Room(memory=need.memory + MIB), named=named)
    with pytest.raises(InputError, match=r"the format json needs|no room for any format: json needs up to .* of disk"):
        choose_writable(RESULT_FORMATS, need, Room(disk=need.disk + 1), named=named)


@given(
    st.dictionaries(st.sampled_from([1, 8, 64, 512, 8192]), st.integers(1, 10**6), min_size=1), st.integers(0, 10**7)
)
def test_without_limits_every_format_is_written(pixels, fits):
    need = requirements(pixels, fits)
    assert choose_writable(RESULT_FORMATS, need, Room(), named=False) == (RESULT_FORMATS, [])
    assert need.disk_of(RESULT_FORMATS) > need.disk_of(["json"]) > need.disk >= 0


def test_sizes_are_rounded_up_and_free_ones_down():
    sizes = (0, 1, MIB, MIB + 1, 2**34, 2**34 + 1)
    assert [in_words(size) for size in sizes] == ["0 MiB", "1 MiB", "1 MiB", "2 MiB", "16 GiB", "17 GiB"]
    assert [in_words(size, free=True) for size in sizes] == ["0 MiB", "0 MiB", "1 MiB", "1 MiB", "16 GiB", "16 GiB"]
