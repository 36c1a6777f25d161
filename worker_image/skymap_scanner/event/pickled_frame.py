"""The frame inside a pickled I3Frame, found without unpickling; see ``restricted_pickle.py``.

The ways of writing a frame, all as ``I3Frame()`` built from ``({}, bytes)``:

- Python 2: the bytes as BINSTRING, or in protocol 0 as a quoted STRING;
- Python 3: the bytes as ``_codecs.encode(text, 'latin1')``, or as BINBYTES from protocol 3 on.

In protocols 0 and 1 tuples and dictionaries are marked on the stack.
"""

from __future__ import annotations

from skymap_scanner.errors import InputError
from skymap_scanner.event.restricted_pickle import BYTES_FUNCTIONS, Allowed, Instance, read_pickle

#: Most instructions in a pickle. Real ones have 27 in protocol 0, and 22 from protocol 2 on.
MAX_INSTRUCTIONS = 64

_FRAME = Allowed(
    what="an I3Frame",
    instructions=MAX_INSTRUCTIONS,
    classes=frozenset({"icecube.icetray I3Frame", "icecube._icetray I3Frame"}),
    functions=BYTES_FUNCTIONS,
)


def frame_bytes(pickled: bytes) -> bytes:
    """Return the serialized frame inside a pickled I3Frame.

    Raises InputError when the pickle is anything else than one I3Frame.
    """
    match read_pickle(pickled, _FRAME):
        case Instance(state=(dict(attributes), bytes(data))) if not attributes:
            return data
    raise InputError("the pickle is not an I3Frame")
