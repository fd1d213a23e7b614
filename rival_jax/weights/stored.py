"""How the bytes of a file become numbers: types by name, members of archives, and limits."""

from __future__ import annotations

import struct
import zipfile
import zlib
from pathlib import Path

import ml_dtypes
import numpy as np

TYPES = {
    name: np.dtype(getattr(ml_dtypes, name, name))
    for name in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float16", "float32", "float64", "complex64", "complex128"),
        *("bfloat16", "float8_e4m3fn", "float8_e5m2"),
    )
}
LOCAL_HEADER = struct.Struct("<4s22xHH")


def inflated_limit(size: int) -> int:
    """How many bytes a file of `size` bytes may expand to; more is taken for an attack."""
    return max(2**28, 64 * size)


class Archive:
    """A zip archive with members as views of the mapped file: nothing is extracted or copied.

    Raises:
      ValueError: it is damaged, encrypted, expands to too many bytes, or a name in it leads out of
        a folder.
    """

    def __init__(self, path: Path, data: memoryview):
        self._data = data
        with zipfile.ZipFile(path) as file:
            self._members = {info.filename: info for info in file.infolist()}
        for name, info in self._members.items():
            if name.startswith("/") or ".." in name.split("/"):
                raise ValueError(f"its member {name!r} leads out of the folder")
            if info.flag_bits & 1:
                raise ValueError(f"its member {name!r} is encrypted")
        total = sum(info.file_size for info in self._members.values())
        if total > inflated_limit(len(data)):
            raise ValueError(f"it stands for {total} bytes")

    def names(self) -> list[str]:
        return list(self._members)

    def stored(self, name: str) -> memoryview:
        """The bytes of a member that is not compressed."""
        if name not in self._members:
            raise ValueError(f"it has no member {name!r}")
        if self._members[name].compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"its member {name!r} is compressed, which torch.save never does")
        return self._bytes(name)

    def inflated(self, name: str) -> memoryview:
        """The bytes of a member, stored or deflated."""
        info = self._members[name]
        if info.compress_type == zipfile.ZIP_STORED:
            return self._bytes(name)
        if info.compress_type != zipfile.ZIP_DEFLATED:
            raise ValueError(f"its member {name!r} is compressed by method {info.compress_type}")
        inflated = zlib.decompressobj(-15).decompress(self._bytes(name), info.file_size + 1)
        if len(inflated) != info.file_size:
            raise ValueError(f"its member {name!r} is not {info.file_size} bytes long")
        return memoryview(inflated)

    def _bytes(self, name: str) -> memoryview:
        info = self._members[name]
        header = bytes(self._data[info.header_offset :][: LOCAL_HEADER.size])
        mark, name_size, extra_size = LOCAL_HEADER.unpack(header)
        start = info.header_offset + LOCAL_HEADER.size + name_size + extra_size
        end = start + info.compress_size
        if mark != b"PK\x03\x04" or info.header_offset < 0 or end > len(self._data):
            raise ValueError(f"its member {name!r} lies outside the file")
        stored = info.compress_type == zipfile.ZIP_STORED
        if stored and info.compress_size != info.file_size:
            raise ValueError(f"its member {name!r} has two sizes")
        return self._data[start:end]
