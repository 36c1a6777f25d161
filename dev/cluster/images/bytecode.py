"""Write the byte code of every Python module below folders, for an image: to be trusted as it is.

    python3 bytecode.py [--from ROOT] FOLDER...      ROOT: what will be / where the code runs

Byte code is usually known by the time of its source, which an image does not keep, and could not be written where a
container is read-only: every start would compile anew all that it imports.
"""

# ruff: noqa: INP001 - a script

from __future__ import annotations

import argparse
import compileall
from pathlib import Path
from py_compile import PycInvalidationMode

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the byte code of every Python module below folders.")
    parser.add_argument("folders", nargs="+", type=Path, metavar="folder")
    parser.add_argument("--from", dest="root", type=Path, help="what will be / where the code runs")
    given = parser.parse_args()
    for folder in given.folders:
        # Quiet: what is no Python of this version, as a template, is left without.
        compileall.compile_dir(
            folder,
            maxlevels=20,
            quiet=2,
            workers=0,
            stripdir=given.root,
            invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        )
