"""Checkpoints and other pickled files taken apart into text and arrays, and put together again.

A pickle is a program, so none is kept: its instructions are, as text that nothing runs, one in a
line. A checkpoint is a zip file or a stream, of pickles and of the bytes that they refer to.
"""

from __future__ import annotations

import io
import json
import pickle
import pickletools
import struct
import zipfile
from pathlib import Path

import numpy as np

from rival_jax.weights.reader import read_tensors

CODES = {opcode.name: opcode for opcode in pickletools.opcodes}
WHOLE = {"uint1": "<B", "uint2": "<H", "uint4": "<I", "uint8": "<Q", "int4": "<i", "float8": ">d"}
COUNTED = {"bytes1": "<B", "bytes4": "<I", "unicodestring1": "<B", "unicodestring4": "<I"}


def listed(file: io.BufferedIOBase) -> str:
    """The instructions of the pickle that starts here, one in a line."""
    lines = []
    for opcode, value, _ in pickletools.genops(file):
        text = value.decode("latin1") if isinstance(value, bytes) else value
        lines.append(opcode.name if opcode.arg is None else f"{opcode.name} {json.dumps(text)}")
    return "\n".join(lines)


def assembled(listing: str) -> bytes:
    """The pickle of these instructions."""
    code = b""
    for line in listing.split("\n"):
        name, _, text = line.partition(" ")
        opcode = CODES[name]
        code += opcode.code.encode("latin1")
        if opcode.arg is not None:
            code += _encoded(opcode.arg.name, json.loads(text))
    return code


def _encoded(kind: str, value) -> bytes:
    """What follows an instruction."""
    if kind in WHOLE:
        return struct.pack(WHOLE[kind], value)
    if kind in COUNTED:
        data = value.encode("latin1" if kind.startswith("bytes") else "utf8")
        return struct.pack(COUNTED[kind], len(data)) + data
    if kind == "long1":
        data = pickle.encode_long(value)
        return struct.pack("<B", len(data)) + data
    if kind == "stringnl_noescape_pair":
        return "".join(f"{part}\n" for part in value.split(" ")).encode()
    raise ValueError(f"no rule for {kind}")


def listed_file(path: Path) -> str:
    """A file that is one pickle, or "" of one that is none."""
    try:
        return listed(io.BytesIO(path.read_bytes()))
    except ValueError:
        return ""


def take_apart(path: Path) -> tuple[list[list[str]], dict[str, tuple[str, np.ndarray]]]:
    """The parts of a checkpoint in their order, and its storages: (tensor's name, numbers) by key.

    A part is [its name, what it is, its text]: a listed pickle, a text or a storage.
    """
    tensors = {value.tobytes(): (name, value) for name, value in read_tensors(path).items()}
    parts, storages = [], {}

    def add(name: str, data: bytes) -> None:
        if data in tensors:
            storages[name] = tensors[data][0], np.frombuffer(data, tensors[data][1].dtype)
            parts.append([name, "storage", ""])
        elif name.endswith("pkl"):
            parts.append([name, "pickle", listed(io.BytesIO(data))])
        else:
            parts.append([name, "text", data.decode("latin1")])

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            for member in file.namelist():
                if not member.endswith(".debug_pkl"):
                    add(member, file.read(member))
    else:
        stream = io.BytesIO(path.read_bytes())
        for i in range(5):
            parts.append([f"{i}.pkl", "pickle", listed(stream)])
        while head := stream.read(8):
            (count,) = struct.unpack("<q", head)
            rest = stream.read(8 * count)
            known = [rest[: count * size] for size in (4, 8) if rest[: count * size] in tensors]
            # What is no tensor of the state is a single number, such as its accuracy.
            data = known[0] if known else head + rest[:4]
            add(f"data/{len(parts)}", data)
            stream.seek((len(data) if known else 4) - len(rest), io.SEEK_CUR)
    return parts, storages


def put_together(parts: list[list[str]], storages: dict[str, np.ndarray]) -> bytes:
    """The bytes of a checkpoint of these parts."""
    zipped = parts[0][0] != "0.pkl"
    written, content = io.BytesIO(), {}
    for name, what, text in parts:
        if what == "storage":
            content[name] = storages[name].tobytes()
            if not zipped:
                content[name] = struct.pack("<q", storages[name].size) + content[name]
        else:
            content[name] = assembled(text) if what == "pickle" else text.encode("latin1")
    if not zipped:
        return b"".join(content.values())
    with zipfile.ZipFile(written, "w") as file:
        for name, data in content.items():
            file.writestr(zipfile.ZipInfo(name), data)
    return written.getvalue()
