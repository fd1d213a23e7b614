"""RIVAL10's attribute dictionaries, `{attribute: base64 of a picture}`, which are pickles.

A pickle is a program. This reader accepts only the instructions that build a flat dictionary of
text, checks all of them before any runs, and never imports what a file names.
"""

from __future__ import annotations

import base64
import binascii
import io
import pickle
import pickletools
from pathlib import Path

MAX_BYTES = 64 * 2**20
MAX_OPCODES = 4096  # a dictionary of 19 entries needs about 120; also bounds nesting and the memo

_TEXT = (
    "STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8"
)
_MEMO = "PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET"
_DICT = "MARK EMPTY_DICT DICT SETITEM SETITEMS"
_LATIN1 = "GLOBAL REDUCE TUPLE TUPLE2"  # how protocols 0 to 2 write bytes; see `find_class`
ALLOWED = frozenset(f"PROTO FRAME STOP {_TEXT} {_MEMO} {_DICT} {_LATIN1}".split())


class RefusedPickle(ValueError):
    """A pickle that asks for more than a dictionary of text."""


def read_attribute_dict(path: Path) -> dict[str, bytes]:
    """The encoded pictures by attribute name; none is decoded.

    Args:
      path: a pickle of any protocol, Python 2 or 3: a dict from text to base64 (text or bytes).

    Raises:
      FileNotFoundError: if there is no such file.
      RefusedPickle: if it holds anything else, or is too large; none of it has run then.
      ValueError: if it is damaged.
    """
    if path.stat().st_size > MAX_BYTES:
        raise RefusedPickle(f"refused {path}: larger than {MAX_BYTES} bytes")
    data = path.read_bytes()
    _check_opcodes(data, path)
    try:
        entries = _TextUnpickler(io.BytesIO(data), encoding="latin1").load()
    except RefusedPickle as error:
        raise RefusedPickle(f"refused {path}: {error}") from error
    except Exception as error:  # misuse of the unpickler's stack can raise anything
        raise RefusedPickle(f"refused {path}: not a dictionary of text ({error})") from error
    if not isinstance(entries, dict):
        raise RefusedPickle(f"refused {path}: holds {type(entries).__name__}, not a dictionary")
    return {_name(key, path): _content(key, value, path) for key, value in entries.items()}


def _check_opcodes(data: bytes, path: Path) -> None:
    """Reads every instruction, executes none."""
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if opcode.name not in ALLOWED:
                raise RefusedPickle(f"refused {path}: instruction {opcode.name}")
            if "PUT" in opcode.name and isinstance(argument, int) and argument > MAX_OPCODES:
                raise RefusedPickle(f"refused {path}: memo place {argument}")
            if count >= MAX_OPCODES:
                raise RefusedPickle(f"refused {path}: more than {MAX_OPCODES} instructions")
    except RefusedPickle:
        raise
    except Exception as error:
        raise ValueError(f"refused {path}: not a readable pickle ({error})") from error


class _TextUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        """Never imports: the one name that may wrap text becomes `_encode_latin1`."""
        if (module, name) == ("_codecs", "encode"):
            return _encode_latin1
        raise RefusedPickle(f"asks for {module}.{name}")


def _encode_latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise RefusedPickle(f"asks for the codec {encoding!r}")
    return text.encode("latin1")


def _name(key: object, path: Path) -> str:
    if not isinstance(key, str):
        raise RefusedPickle(f"refused {path}: a key is {type(key).__name__}, not text")
    return key


def _content(key: object, value: object, path: Path) -> bytes:
    if not isinstance(value, (str, bytes)):
        raise RefusedPickle(f"refused {path}: {key!r} is {type(value).__name__}, not base64 text")
    try:
        return base64.b64decode(value)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"{path}: {key!r} is not base64 text ({error})") from error
