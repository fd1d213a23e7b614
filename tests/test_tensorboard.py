import struct

import pytest

from rival_jax.runtime.tensorboard import EventFile, crc32c


def records(data: bytes):
    """The messages of an event file; checks both checksums of each."""

    def checked(part: bytes, stored: bytes):
        crc = (struct.unpack("<I", stored)[0] - 0xA282EAD8) & 0xFFFFFFFF
        assert (crc >> 17 | crc << 15) & 0xFFFFFFFF == crc32c(part)
        return part

    while data:
        (length,) = struct.unpack("<Q", checked(data[:8], data[8:12]))
        yield checked(data[12 : 12 + length], data[12 + length : 16 + length])
        data = data[16 + length :]


def fields(message: bytes):
    """(number, value) of a protocol buffer."""
    found, place = [], 0

    def varint():
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while place < len(message):
        key = varint()
        kind = key & 7
        if kind == 0:
            value = varint()
        else:
            size = {1: 8, 5: 4}.get(kind) or varint()
            value = message[place : place + size]
            place += size
        found.append((key >> 3, value))
    return found


def test_numbers_can_be_read_back(tmp_path):
    file = EventFile(tmp_path / "run")
    file.write(3, {"train/total": 0.25, "a b": -1e9})
    file.write(70000, {"train/total": float("nan")})
    first, *events = [dict(fields(record)) for record in records(file.path.read_bytes())]
    assert first[3] == b"brain.Event:2"
    assert [event[2] for event in events] == [3, 70000]
    values = [dict(fields(entry)) for _, entry in fields(events[0][5])]
    assert [value[1] for value in values] == [b"train/total", b"a b"]
    assert [struct.unpack("<f", v[2])[0] for v in values] == pytest.approx([0.25, -1e9])


def test_every_start_writes_a_file_of_its_own(tmp_path):
    paths = {EventFile(tmp_path).path for _ in range(3)}
    assert len(paths) == 3
    assert all(path.name.startswith("events.out.tfevents.") for path in paths)
