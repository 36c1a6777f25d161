"""Catalogues in the usual forms, and files that only look like one."""

from __future__ import annotations

import gzip
import tracemalloc
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import from_table, writeto
from astropy.table import Table

import skymap_scanner.results.catalogue as module
from skymap_scanner.errors import InputError
from skymap_scanner.results.catalogue import read_catalogue

RADIANS = (
    b"<V><TABLE><FIELD name='RA' unit='rad'/><FIELD name='Dec' unit='rad'/><TR><TD>3</TD><TD>1</TD></TR></TABLE></V>"
)
NAMES, RA, DEC = ["4FGL J0914.4+0249", "PKS 0912+029", "a, b"], [138.5, 359.9999, 0.0], [2.75, -90.0, 89.5]


def table(ra="RAJ2000", dec="DEJ2000", name="Source_Name"):
    return Table({name: NAMES, "Flux": [1.0, 2.0, 3.0], ra: RA, dec: DEC})


def check(path, names=tuple(NAMES)):
    found = read_catalogue(path)
    assert found.title == path.name
    assert list(found.names) == list(names)
    np.testing.assert_allclose(found.ra, RA, rtol=1e-6)
    np.testing.assert_allclose(found.dec, DEC, rtol=1e-6)


def test_fits_is_read_after_other_tables(tmp_path):
    """As 4FGL: positions are float32, and other tables without any come first."""
    catalogue = table()
    catalogue["RAJ2000"] = catalogue["RAJ2000"].astype(np.float32)
    other = fits.BinTableHDU(Table({"Energy": [1.0]}))
    file = fits.HDUList([fits.PrimaryHDU(), other, fits.BinTableHDU(catalogue)])
    file.writeto(tmp_path / "psc.fit")
    check(tmp_path / "psc.fit")
    (tmp_path / "psc.fit.gz").write_bytes(gzip.compress((tmp_path / "psc.fit").read_bytes()))
    check(tmp_path / "psc.fit.gz")


def test_votable_with_tabledata_is_read(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        writeto(from_table(table()), str(tmp_path / "table.vot"), tabledata_format="tabledata")
        writeto(from_table(table()), str(tmp_path / "binary.vot"), tabledata_format="binary")
    check(tmp_path / "table.vot")
    with pytest.raises(InputError, match="save it as TABLEDATA"):
        read_catalogue(tmp_path / "binary.vot")


@pytest.mark.parametrize(
    ("ra", "dec", "name"),
    [
        ("RA", "Dec", "name"),
        ("ra (deg)", "dec (deg)", "Object"),
        ("_RAJ2000", "_DEJ2000", "main_id"),
        ("ra", "DE", "ID"),
    ],
)
@pytest.mark.parametrize("separator", ["ascii.csv", "ascii.tab"])
def test_csv_and_tsv_are_read_by_usual_names(tmp_path, ra, dec, name, separator):
    table(ra, dec, name).write(tmp_path / "sources.txt", format=separator)
    check(tmp_path / "sources.txt")


def test_vizier_tsv_with_comments_units_and_dashes_is_read(tmp_path):
    rows = "\n".join(f"{ra}\t{dec}\t{name}\t12 00 00" for ra, dec, name in zip(RA, DEC, NAMES, strict=True))
    head = '#RESOURCE=x\n#Name: y\n\n_RAJ2000\t_DEJ2000\tName\tRAJ2000\ndeg\tdeg\t\t"h:m:s"\n---\t---\t---\t---\n'
    (tmp_path / "v.tsv").write_text(f"{head}{rows}\n\n")
    check(tmp_path / "v.tsv")


def test_sources_without_a_position_are_skipped(tmp_path):
    (tmp_path / "c.csv").write_text("ra,dec,name\n10,20,a\n,,b\nnan,5,c\n-10,30,d\n")
    found = read_catalogue(tmp_path / "c.csv")
    assert found.ra.tolist() == [10, 350]
    assert found.dec.tolist() == [20, 30]
    assert list(found.names) == ["a", "d"]


def test_sources_without_a_name_get_their_row_number(tmp_path):
    (tmp_path / "c.csv").write_text("ra,dec,flux\n10,20,1\n,,2\nnan,5,3\n-10,30\n")
    assert list(read_catalogue(tmp_path / "c.csv").names) == ["row 1", "row 3"]


def test_names_are_printable_and_short(tmp_path):
    (tmp_path / "c.csv").write_text("name,ra,dec\n\x1b[31mred,1,2\n" + "n" * 1000 + ",3,4\n")
    found = read_catalogue(tmp_path / "c.csv")
    assert len(found.names) == 2
    assert all(name.isprintable() and len(name) <= 80 for name in found.names)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"# only\n# comments\n", "an empty file"),
        (b"\x00\x01\x02", "neither FITS nor text"),
        (b"name,l,b\nx,1,2\n", "columns are name, l, b: expected names such as"),
        (b"name,ra,dec\nx,12 30 49.4,+12 23 28\n", "row 1: '12 30 49.4', '.12 23 28' is not a position in degrees"),
        (b"name,ra,dec\nx,10,91\n", "row 1: 10, 91 is not a position in degrees"),
        (b"name,ra,dec\nx,400,1\n", "is not a position in degrees"),
        (b"ra,dec\n1e999,2\n3,1e400x\n", "row 2: "),
        (b'name,ra,dec\n"' + b"x" * 40000 + b"\n" + b"y" * 40000 + b"\n" + b"z" * 60000 + b'",1,2\n', "damaged CSV"),
        (b"x" * 100000, "a line of more than"),
        (b"<VOTABLE><TABLE>", "damaged XML"),
        (b'<?xml version="1.0" encoding="utf-88"?><VOTABLE/>', "damaged XML"),
        (b"<html><body>404</body></html>", "columns are none"),
        (b'<!DOCTYPE v [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><VOTABLE>&b;</VOTABLE>', "declares entities"),
        (b'<!DOCTYPE v [<!ENTITY a SYSTEM "file:///etc/passwd">]><VOTABLE>&a;</VOTABLE>', "declares entities"),
        (RADIANS, "column RA has the unit 'rad': positions must be in degrees"),
        (b"SIMPLE  =                    T", "no end of a header"),
        (b"\x1f\x8bnot gzip", "damaged gzip|cannot be read"),
    ],
)
def test_invalid_files_are_clear_errors(tmp_path, content, reason):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InputError, match=reason) as error:
        read_catalogue(path)
    assert str(error.value).startswith(str(path))
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("column", "names"),
    [
        (fits.Column(name="ID", format="K", array=[7, -2, 2**40]), ["7", "-2", str(2**40)]),
        (fits.Column(name="Source", format="E", array=[1.5, 2, np.nan]), ["1.5", "2.0", "row 3"]),
        (fits.Column(name="ID", format="2J", array=[[1, 2]] * 3), ["row 1", "row 2", "row 3"]),
        (fits.Column(name="ID", format="J", bzero=2**31, array=[1, 2, 3]), ["row 1", "row 2", "row 3"]),
        (fits.Column(name="ID", format="L", array=[True, False, True]), ["row 1", "row 2", "row 3"]),
    ],
)
def test_names_of_fits_may_be_numbers(tmp_path, column, names):
    """Other kinds are no names: the sources get the numbers of their rows."""
    places = [fits.Column(name=name, format="D", array=values) for name, values in (("RA", RA), ("DEC", DEC))]
    fits.BinTableHDU.from_columns([column, *places]).writeto(tmp_path / "c.fits")
    check(tmp_path / "c.fits", names)


def test_fits_with_unsuitable_columns_is_a_clear_error(tmp_path):
    for number, (column, reason) in enumerate(
        [
            (fits.Column(name="RA", format="20A", array=["12 30 49"]), "expected numbers"),
            (fits.Column(name="RA", format="D", unit="hourangle", array=[1.0]), "must be in degrees"),
            (fits.Column(name="RA", format="2D", array=[[1.0, 2.0]]), "several numbers in a row"),
        ]
    ):
        path = tmp_path / f"{number}.fits"
        fits.BinTableHDU.from_columns([column, fits.Column(name="DEC", format="D", array=[1.0])]).writeto(path)
        with pytest.raises(InputError, match=reason):
            read_catalogue(path)


@pytest.mark.parametrize(
    "content",
    [b"ra,dec\n" + b"1,2\n" * 3000, b"<VOTABLE><TABLE>" + b"<TR><TD/></TR>" * 3000 + b"</TABLE></VOTABLE>"],
)
def test_number_of_sources_is_bounded(tmp_path, monkeypatch, content):
    monkeypatch.setattr(module, "MAX_SOURCES", 1000)
    (tmp_path / "many").write_bytes(content)
    with pytest.raises(InputError, match="more than the 1000 sources allowed"):
        read_catalogue(tmp_path / "many")


def test_catalogue_size_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_TEXT", 2**20)
    (tmp_path / "large.csv").write_bytes(b"ra,dec\n" + b"1,2\n" * 2**20)
    tracemalloc.start()
    with pytest.raises(InputError, match="larger than the 1048576 bytes allowed"):
        read_catalogue(tmp_path / "large.csv")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**23
