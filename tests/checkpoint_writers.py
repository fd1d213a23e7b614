"""Checkpoint files written byte by byte: the tests need no torch, and can write wrong ones."""

from __future__ import annotations

import dataclasses
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
KINDS = {
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}


@dataclasses.dataclass(frozen=True)
class Global:
    """A class or function by name: `Global("os", "system")`."""

    module: str
    name: str


@dataclasses.dataclass(frozen=True)
class Call:
    """The result of a call, with the state it is given; `new` writes it as an object's creation."""

    function: Any
    args: tuple = ()
    state: Any = None
    new: bool = False


@dataclasses.dataclass(frozen=True)
class Persistent:
    """An object that lies outside the pickle."""

    name: Any


@dataclasses.dataclass(frozen=True)
class Raw:
    """Instructions as they are."""

    code: bytes


def encode(value: Any) -> bytes:
    """The instructions that build `value`, in protocol 2 and without a memo."""
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            size = value.bit_length() // 8 + 1
            return b"\x8b" + struct.pack("<i", size) + value.to_bytes(size, "little", signed=True)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            return b"X" + struct.pack("<I", len(value.encode())) + value.encode()
        case tuple():
            return b"(" + b"".join(map(encode, value)) + b"t"
        case list():
            return b"](" + b"".join(map(encode, value)) + b"e"
        case dict():
            pairs = b"".join(encode(k) + encode(v) for k, v in value.items())
            return b"}(" + pairs + b"u"
        case Global():
            return f"c{value.module}\n{value.name}\n".encode()
        case Persistent():
            return encode(value.name) + b"Q"
        case Call():
            made = encode(value.function) + encode(value.args) + (b"\x81" if value.new else b"R")
            return made if value.state is None else made + encode(value.state) + b"b"
        case Raw():
            return value.code
    raise TypeError(value)


def pickled(value: Any) -> bytes:
    return b"\x80\x02" + encode(value) + b"."


def storage(key: str, kind: str, count: int, *view: Any, device: str = "cpu") -> Persistent:
    return Persistent(("storage", Global("torch", kind), key, device, count, *view))


def tensor(where: Persistent, shape: tuple, stride: tuple | None = None, offset: int = 0) -> Call:
    if stride is None:
        stride = tuple(int(np.prod(shape[i + 1 :])) for i in range(len(shape)))
    hooks = Call(Global("collections", "OrderedDict"))
    rebuild = Global("torch._utils", "_rebuild_tensor_v2")
    return Call(rebuild, (where, offset, shape, stride, False, hooks))


def stored(tensors: dict[str, np.ndarray]) -> tuple[dict[str, Call], dict[str, np.ndarray]]:
    """What a pickle says of the tensors, and the storages it refers to."""
    storages = {str(i): value for i, value in enumerate(tensors.values())}
    said = {
        name: tensor(storage(key, KINDS[value.dtype.name], value.size), value.shape)
        for key, (name, value) in zip(storages, tensors.items(), strict=True)
    }
    return said, storages


def write_zip(
    path: Path,
    value: Any,
    storages: dict[str, np.ndarray],
    *,
    order: str | None = "little",
    method: int = zipfile.ZIP_STORED,
    members: dict[str, bytes] | None = None,
) -> Path:
    """As `torch.save` writes since 1.6, and `torch.jit.save`; `members` are added or replaced."""
    content = {"data.pkl": value.code if isinstance(value, Raw) else pickled(value)}
    content |= {"byteorder": order.encode()} if order else {}
    content |= {f"data/{key}": numbers.tobytes() for key, numbers in storages.items()}
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in {**content, **(members or {})}.items():
            file.writestr(f"archive/{name}", data)
    return path


def write_stream(
    path: Path, value: Any, storages: dict[str, np.ndarray], *, little: bool = True
) -> Path:
    """As `torch.save` wrote before 1.6."""
    system = {"protocol_version": 1001, "little_endian": little, "type_sizes": {}}
    magic = b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."
    main = value.code if isinstance(value, Raw) else pickled(value)
    parts = [magic, pickled(1001), pickled(system), main, pickled(list(storages))]
    for numbers in storages.values():
        parts += [struct.pack("<q", numbers.size), numbers.tobytes()]
    path.write_bytes(b"".join(parts))
    return path


def write_members(path: Path, members: list[tuple[str, int, bytes, int]], flags: int = 0) -> Path:
    """A zip file of (name, method, bytes as they lie there, the size they are said to have)."""
    body = directory = b""
    for name, method, data, size in members:
        sizes = struct.pack("<III", 0, len(data), size)
        common = struct.pack("<HHHHH", 20, flags, method, 0, 33) + sizes
        start = struct.pack("<I", len(body))
        lengths = struct.pack("<HH", len(name), 0)
        directory += b"PK\x01\x02\x14\x00" + common + lengths + bytes(10) + start + name.encode()
        body += b"PK\x03\x04" + common + lengths + name.encode() + data
    count = struct.pack("<HH", len(members), len(members))
    end = (
        b"PK\x05\x06" + bytes(4) + count + struct.pack("<II", len(directory), len(body)) + bytes(2)
    )
    path.write_bytes(body + directory + end)
    return path


def bomb(megabytes: int) -> bytes:
    """Deflated zeros, a thousandth of what they become."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * megabytes + b"\x03\x00"


def npy(header: str, data: bytes = b"") -> bytes:
    """A member of an `.npz`, with any header."""
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data
