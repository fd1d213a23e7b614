"""The epochs of trainings, logged, and written as TensorBoard event files of numbers.

They are written without TensorFlow: the format is small. A file is a row of records: length, its
checksum, an `Event` message, its checksum.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rival_jax.runtime import hosts
from rival_jax.runtime.members import PARTS, Member, Watch
from rival_jax.runtime.progress import Meter
from rival_jax.runtime.results import Run


def watched(run: Run, meter: Meter, members: Sequence[Member], say: Callable[[str], None]) -> Watch:
    """Moves a progress bar, logs every epoch, and writes its numbers for TensorBoard."""
    folder = run.path / "tensorboard"
    curves = {one.name: EventFile(folder / one.name) for one in members if hosts.first()}

    def on_epoch(entry: dict[str, Any]) -> None:
        if not hosts.first():
            return
        timed = entry["train"] and entry["member"] == members[0].name
        run.log("epoch", **entry, **(meter.lap() if timed else {}))
        told = {f"{part}/{k}": v for part in PARTS for k, v in (entry[part] or {}).items()}
        if entry["learning_rate"] is not None:  # as before the first epoch
            told = {"learning_rate": entry["learning_rate"], **told}
        curves[entry["member"]].write(entry["epoch"] + 1, told)

    return Watch(meter.advance, on_epoch, say)


class EventFile:
    """Appends numbers to one new event file.

    Args:
      folder: what TensorBoard shows as one curve; made if it is not there.
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        stamp, number = time.time(), 0
        while (path := folder / f"events.out.tfevents.{stamp:.0f}.{number}").exists():
            number += 1
        self.path = path
        self._append(_field(1, stamp) + _field(3, b"brain.Event:2"))

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One point of every named curve."""
        entries = (_field(1, tag.encode()) + _float(2, value) for tag, value in values.items())
        summary = b"".join(_field(1, entry) for entry in entries)
        self._append(_field(1, time.time()) + _field(2, step) + _field(5, summary))

    def _append(self, event: bytes) -> None:
        length = struct.pack("<Q", len(event))
        record = length + _masked(length) + event + _masked(event)
        with self.path.open("ab") as file:
            file.write(record)


def _field(number: int, value: bytes | int | float) -> bytes:
    """A field of a protocol buffer: bytes, a 64-bit integer or a double."""
    if isinstance(value, bytes):
        return _varint(number << 3 | 2) + _varint(len(value)) + value
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _float(number: int, value: float) -> bytes:
    return _varint(number << 3 | 5) + struct.pack("<f", value)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def crc32c(data: bytes) -> int:
    """Castagnoli's checksum.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _entry(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value


_TABLE = [_entry(value) for value in range(256)]
