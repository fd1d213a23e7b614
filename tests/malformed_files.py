"""Hostile, wrong and damaged checkpoints, by what is wrong with them, and whole ones to compare."""

from __future__ import annotations

import json
import shutil
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from flax import serialization

from rival_jax.weights.safetensors import write_tensors
from tests import checkpoint_writers as write
from tests.checkpoint_writers import Call, Global, Persistent, Raw, encode, pickled, storage, tensor

FLIPS, CUTS = 22, 10  # of every file of the formats below
NUMBERS = np.arange(12, dtype=np.float32)
WEIGHT = tensor(storage("0", "FloatStorage", 12), (3, 4))
STORAGES = {"0": NUMBERS}
TREE = {"params": {"w": NUMBERS.reshape(3, 4), "n": np.array(3)}, "opt_state": {"mu": NUMBERS}}


# ---- pickles that ask for something


def hostile(canary: str) -> dict[str, Any]:
    """Values of a pickle by what is wrong with them; what they would make is `canary`."""
    command = f"touch {canary}"
    call = Call(Global("os", "system"), (command,))
    system = b"cos\nsystem\n"
    got = Call(Global("builtins", "getattr"), (Global("os", "path"), "os"))
    text = encode(command)
    return {
        "reduce": call,
        "older name": Call(Global("posix", "system"), (command,)),
        "eval": Call(Global("builtins", "eval"), (f"open({canary!r}, 'w')",)),
        "exec": Call(Global("__builtin__", "exec"), (f"import os; os.mkdir({canary!r})",)),
        "import": Call(Global("builtins", "__import__"), ("antigravity",)),
        "global that is not there": Global("antigravity", "fly"),
        "inst": Raw(b"(" + text + b"ios\nsystem\n"),
        "obj": Raw(b"(" + system + text + b"o"),
        "newobj": Call(Global("os", "system"), (command,), new=True),
        "newobj with keywords": Raw(system + b"(" + text + b"t}\x92"),
        "setstate": Call(Global("os", "system"), (command,), {"__setstate__": call}, new=True),
        "state of an unknown": Call(Global("a", "B"), (), ({"x": call}, {"y": call}), new=True),
        "stack global": Raw(encode("os") + encode("system") + b"\x93(" + text + b"tR"),
        "nested stack global": Raw(encode("os") + encode(Global("a", "b")) + b"\x93"),
        "getattr": Call(Call(Global("builtins", "getattr"), (got, "system")), (command,)),
        "call of a call": Call(Call(call, ()), (command,)),
        "extension 1": Raw(b"\x82\x01"),
        "extension 4": Raw(b"\x84\x01\x00\x00\x00)R"),
        "persistent text": Raw(b"Pos.system\n"),
        "persistent call": Persistent(call),
        "persistent type": Persistent(("storage", call, "0", "cpu", 12)),
        "persistent module": Persistent(("module", call, "a.py", "import antigravity")),
        "storage of another name": tensor(storage("0", "QInt8Storage", 12), (12,)),
        "function of a subclass": Call(
            Global("torch._tensor", "_rebuild_from_type_v2"),
            (Global("os", "system"), Global("a", "B"), (command,), None),
        ),
        "hooks": Call(Global("torch._utils", "_rebuild_parameter"), (WEIGHT, True, call)),
        "another pickle": Call(
            Global("torch.storage", "_load_from_bytes"), (pickled(call).decode("latin1"),)
        ),
        "codec": Call(Global("_codecs", "encode"), ("a" * 100, "zip")),
        "objects in an array": Call(
            Global("numpy.core.multiarray", "_reconstruct"),
            (Global("numpy", "ndarray"), (0,), "b"),
            (1, (1,), Call(Global("numpy", "dtype"), ("O8", False, True)), False, [call]),
        ),
        "dictionary made of a call": Call(Global("collections", "OrderedDict"), (call,)),
        "entries of a call": Raw(encode(call) + b"(" + encode("a") + b"Nu"),
        "key": {call: 1},
        "list as key": Raw(b"}](" + encode(call) + b"eNs"),
        "dill": Call(
            Global("dill._dill", "_create_function"),
            (Call(Global("types", "CodeType"), (0, 0, 0, "x")), Global("os", "__dict__")),
        ),
    }


REFUSED = {
    "nested stack global": "a name that is not text",
    "persistent text": "a persistent id that is not torch's",
    "persistent call": "a persistent id that is not torch's",
    "persistent type": None,  # reads: a type of no known name
    "dictionary made of a call": "'Foreign' object is not iterable",
    "call of a call": None,
}


# ---- pickles that are wrong


def wrong_pickles() -> dict[str, tuple[Any, str]]:
    def sized(size, stride, offset=0, count=12):
        return tensor(storage("0", "FloatStorage", count), size, stride, offset)

    laughs = b"](" + b"N" * 10 + b"e" + b"".join(
        b"q" + bytes([i]) + b"0](" + (b"h" + bytes([i])) * 10 + b"e" for i in range(20)
    )  # fmt: skip
    many = 2_000_000
    long = encode("a" * 400)
    pairs = b"ccollections\nOrderedDict\nq\x00(](" + b"(NNt" * 60_000 + b"etq\x01"
    return {
        "negative size": (sized((-3, 4), (4, 1)), r"sizes \[-3, 4\]"),
        "negative stride": (sized((3, 4), (-4, 1), 11), r"strides \[-4, 1\]"),
        "negative offset": (sized((3,), (1,), -1), "offset -1"),
        "fraction": (sized((3.0,), (1,)), r"sizes \[3.0\]"),
        "truth": (sized((True,), (1,)), r"sizes \[True\]"),
        "no list": (sized(3, 1), "int"),
        "out of range": (sized((3, 5), (4, 1)), "does not fit a storage of 12 numbers"),
        "offset out of range": (sized((3, 4), (4, 1), 1), "does not fit a storage of 12"),
        "overlap that grows": (sized((2**13, 2**13), (0, 0)), "does not fit a storage of 12"),
        "absurd size": (sized((2**62, 2**62), (0, 0)), "does not fit a storage of 12"),
        "absurd empty size": (sized((0, 2**62, 2**62), (0, 0, 0)), "too large|too big|maximum"),
        "many sizes": (sized((1,) * 40, (1,) * 40), "40 sizes and 40 strides"),
        "sizes without strides": (sized((3, 4), (1,)), "2 sizes and 1 strides"),
        "storage cut short": (sized((3,), (1,), 0, 13), "13 float32 is cut short|12, not 0|13"),
        "negative storage": (sized((3,), (1,), 0, -1), "-1"),
        "storage elsewhere": (
            tensor(storage("../../../etc/passwd", "ByteStorage", 9), (9,)),
            r"\.\./etc/passwd|storage '0' is of no known type",
        ),
        "depth": (Raw(b"\x80\x02" + b"]" * 10_000 + b"a" * 9_999 + b"."), "100 levels"),
        "depth of tuples": (Raw(b"\x80\x02N" + b"\x85" * 10_000 + b"."), "100 levels"),
        "depth of nameless dictionaries": (
            Raw(b"\x80\x02" + b"}X\0\0\0\0" * 1000 + b"N" + b"s" * 1000 + b"."),
            "100 levels",
        ),
        "list in itself": (Raw(b"\x80\x02]q\x00h\x00a."), "100 levels"),
        "laughs": (Raw(b"\x80\x02" + laughs + b"."), "more than 300000 entries"),
        "long name": (Raw(encode({"a" * 400: {"b" * 400: None}}) + b"."), "500 letters a name"),
        "long global": (Raw(long + long + b"\x93."), "a name of more than 500"),
        "instructions": (Raw(b"N" * many + b"."), "more than 400000 instructions"),
        "lists": (Raw(b"]" * many + b"."), "more than 400000 instructions"),
        "names": (Raw(b"cos\nsystem\n" * many + b"."), "more than 400000 instructions"),
        "copies": (Raw(pairs + b"h\x00h\x01R0" * 30_000 + b"."), "more than 400000 instr"),
        "memo": (Raw(b"]r\xff\xff\xff\xff0jzzzz."), "KeyError"),
        "colliding keys": (
            Raw(b"}(" + b"".join(b"L%dL\nN" % (k * (2**61 - 1)) for k in range(60_000)) + b"u."),
            "holds no tensors",
        ),
        "long number": (
            Raw(b"\x8b" + struct.pack("<i", 9**5) + bytes(9**5 - 1) + b"\x01."),
            "bits",
        ),
        "longer number": (Raw(b"\x8b\xff\xff\xff\x7f\x01."), "long4"),
        "negative length": (Raw(b"\x8b\xff\xff\xff\xff\x01."), "negative"),
        "number of many digits": (Raw(b"L" + b"9" * 10**6 + b"L\n."), "4300"),
        "text": (Raw(b"X\xff\xff\xff\xffabc."), "4294967295"),
        "more text": (Raw(b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7fabc."), "bytes|size|length"),
        "bytearray": (Raw(b"\x96\xff\xff\xff\xff\xff\xff\xff\x0fabc."), "bytes|size|length"),
        "frame": (Raw(b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN."), "holds no tensors"),
        "buffer": (Raw(b"\x80\x05\x97."), "instruction that no checkpoint needs"),
        "no stop": (Raw(b"\x80\x02N"), "STOP|unknown"),
        "nothing": (Raw(b""), "STOP|unknown"),
        "empty stack": (Raw(b"\x80\x020."), "IndexError"),
        "call of a number": (Raw(b"\x80\x02K\x01)R."), "not a function"),
        "entry of a number": (Raw(b"\x80\x02K\x01NNs."), "sets entries of a int"),
        "added to a number": (Raw(b"\x80\x02K\x01Na."), "adds to a int"),
        "odd entries": (Raw(b"\x80\x02}(Nu."), "zip"),
        "numpy type": (
            Call(
                Global("numpy.core.multiarray", "scalar"),
                (Call(Global("numpy", "dtype"), ("f3", False, True)), "abc"),
            ),
            "f3",
        ),
    }


# ---- other formats


def as_msgpack(value: Any) -> bytes:
    return msgpack.packb(value) or b""


def wrong_files(folder: Path) -> dict[str, tuple[Path, str]]:
    cases: dict[str, tuple[Path, str]] = {}

    def add(name: str, content: bytes | Callable[[Path], Any], message: str) -> None:
        path = folder / name.replace(" ", "_")
        content(path) if callable(content) else path.write_bytes(content)
        cases[name] = path, message

    good = pickled({"w": WEIGHT})
    raw = NUMBERS.tobytes()
    size = 3000 * 2**20
    big = write.bomb(3000)

    def members(*entries):
        return lambda path: write.write_members(path, list(entries))

    def torch_with(**options):
        return lambda path: write.write_zip(path, {"w": WEIGHT}, STORAGES, **options)

    main = ("a/data.pkl", 0, good, len(good))
    add("torch deflated", torch_with(method=zipfile.ZIP_DEFLATED), "is compressed, which torch")
    add("torch bomb", members(main, ("a/data/0", 8, big, size)), "it stands for 3145")
    add("torch small bomb", members(main, ("a/data/0", 8, big, 48)), "is compressed, which torch")
    add("torch bomb as pickle", members(("a/data.pkl", 8, big, 100)), "is compressed, which torch")
    add("torch two pickles", torch_with(members={"b/data.pkl": good}), "2 members data.pkl")
    add("torch out of folder", torch_with(members={"../../x": b""}), r"'archive/\.\./\.\./x' leads")
    add("torch out of root", members(main, ("/etc/x", 0, b"", 0)), "'/etc/x' leads out of")
    add("torch two sizes", members(main, ("a/data/0", 0, raw, 2**27)), "has two sizes")
    add("torch secret", lambda p: write.write_members(p, [main], flags=1), "is encrypted")
    shifted = write.write_members(folder / "x", [main]).read_bytes()
    at = shifted.rindex(b"a/data.pkl") - 4
    far = shifted[:at] + struct.pack("<I", 2**31) + shifted[at + 4 :]
    add("torch outside", far, "lies outside|requires a buffer|not a zip")

    shape = "{'descr': '%s', 'fortran_order': False, 'shape': %s, }"
    arrays = {
        "npz absurd": (shape % ("<f4", "(4611686018427387904, 4)"), "is 48 bytes, not"),
        "npz negative": (shape % ("<f4", "(-12,)"), "no array of little-endian numbers"),
        "npz big endian": (shape % (">f4", "(12,)"), "no array of little-endian numbers"),
        "npz code": (shape % ("<f4", "__import__('os').system('true')"), "no array"),
        "npz depth": (shape % ("<f4", "(" * 900), "no array of little-endian numbers"),
        "npz structure": (shape % ("<f4', 'x': '<f4", "(12,)"), "no array of little"),
        "npz void": (shape % ("|V4", "(12,)"), "no array of little-endian numbers"),
        "npz cut": (shape % ("<f4", "(13,)"), r"is 48 bytes, not \[13\] times"),
        "npz widths": (shape % ("<f9", "(12,)"), "f9"),
        "npz many sizes": (shape % ("<f4", "(" + "1, " * 99 + "12)"), "no array|dimension"),
    }
    for name, (header, message) in arrays.items():
        data = write.npy(header, raw)
        add(name, members(("w.npy", 0, data, len(data))), message)
    whole = write.npy(shape % ("<f4", "(12,)"), raw)
    one = ("w.npy", 0, whole, len(whole))
    add("npz bomb", members(one, ("b.npy", 8, big, size)), "it stands for 3145")
    add("npz small bomb", members(one, ("b.npy", 8, big, 99)), "is not 99 bytes long")
    add("npz method", members(("w.npy", 14, whole, len(whole))), "compressed by method 14")
    add("npz stranger", members(one, ("x.py", 0, b"1", 1)), "'x.py' is not an array")
    add("npz below", members(one, ("w/b.npy", *one[1:])), "below another array")
    add("npz above", members(("w/b.npy", *one[1:]), one), "two arrays are named")
    add("npz twins", members(("a/w.npy", *one[1:]), ("a//w.npy", *one[1:])), "")
    add("npz depth of names", members(("a/" * 400 + "w.npy", *one[1:])), "100 levels")
    add("npz out of folder", members(("../w.npy", *one[1:])), "leads out of the folder")
    with (folder / "npz_objects").open("wb") as file:
        np.savez(file, w=np.array([None, {}], object))
    cases["npz objects"] = folder / "npz_objects", "holds pickled objects, which are not read"

    def safe(header: Any, length: int | None = None) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + raw

    entry = {"dtype": "F32", "shape": [12], "data_offsets": [0, 48]}
    half = {"dtype": "F32", "shape": [6], "data_offsets": [0, 24]}
    again = "is cut short or damaged"
    add("safetensors", safe({"w": {**entry, "shape": [-12]}}), again)
    add("safetensors length", safe({"w": entry}, 2**62), "it is not of torch.save")
    add("safetensors long", safe({"w": entry}, 2**31), again)
    add("safetensors overlap", safe({"w": entry, "v": entry}), again)
    add("safetensors part", safe({"w": half, "v": {**half, "data_offsets": [12, 36]}}), again)
    add("safetensors outside", safe({"w": {**entry, "data_offsets": [0, 2**40]}}), again)
    add("safetensors absurd", safe({"w": {**entry, "shape": [2**62, 2**62]}}), again)
    add("safetensors type", safe({"w": {**entry, "dtype": "O8"}}), again)
    add("safetensors depth", safe(b'{"a":' * 50_000), again)

    def ext(*said: Any, code: int = 1) -> bytes:
        return b"\x81\xa1w" + as_msgpack(msgpack.ExtType(code, as_msgpack(said)))

    def piece(**node: Any) -> bytes:
        return serialization.msgpack_serialize({"__msgpack_chunked_array__": True, **node})

    for name, content, message in (
        ("list", b"\x81\xa1w\xdd\xff\xff\xff\xff", "exceeds max_array_len"),
        ("lists", b"\x81\xa1w" + b"\xdd\x00\x00\x10\x00" * 3000, "incomplete|deep|nested|Stack"),
        ("greed", b"\x81\xa1w" + b"\xdd\x00\x10\x00\x00" * 400 + bytes(2**20), "max_array_len"),
        ("map", b"\x81\xa1w\xdf\xff\xff\xff\xff", "map_len|incomplete"),
        ("text", b"\x81\xa1w\xdb\xff\xff\xff\xff", "str_len|incomplete"),
        ("bytes", b"\x81\xa1w\xc6\xff\xff\xff\xff", "bin_len|incomplete"),
        ("extension", b"\x81\xa1w\xc9\xff\xff\xff\xff\x01", "ext_len|incomplete"),
        ("depth", b"\x81\xa1w" * 400 + b"\xc0", "100 levels|Stack"),
        ("more", b"\x81\xa1w\xc0more", "extra data"),
        ("shape", ext([13], "float32", raw), r"48 bytes, not \[13\]"),
        ("negative", ext([-12], "float32", raw), r"the shape \[-12\]"),
        ("absurd", ext([2**40, 2**40], "float32", raw), "48 bytes, not"),
        ("type", ext([12], "O", raw), "an array of 'O'"),
        ("words", ext("ab", "float32", raw), "the shape ab"),
        ("missing", ext([12]), "unpack"),
        ("complex", ext(1.0, code=2), "holds no tensors"),
        ("other code", ext(1, code=77), "holds no tensors"),
        ("pieces", piece(shape={"0": 13}, chunks={"0": NUMBERS}), r"48 bytes, not \[13\]"),
        ("no pieces", piece(shape={"0": 12}, chunks={}), "concatenate"),
        ("odd pieces", piece(shape={"0": 12}, chunks=[3]), "indices|subscript|list"),
        ("negative pieces", piece(shape={"0": -1}, chunks={"0": NUMBERS}), r"shape \[-1\]"),
        ("key", b"\x81" + as_msgpack(msgpack.ExtType(1, b"")) + b"\xc0", ""),
    ):
        add(f"msgpack {name}", content, message)
    return cases


def wrong_folders(folder: Path) -> dict[str, tuple[Path, str]]:
    """Orbax checkpoints of one array `w` in files, with something wrong each."""
    zlib_said = {"id": "zlib", "level": 1}
    good = {
        "zarr_format": 2, "order": "C", "filters": None, "fill_value": None, "dtype": "<f4",
        "dimension_separator": ".", "shape": [12], "chunks": [12], "compressor": zlib_said,
    }  # fmt: skip
    value = {"value_type": "jax.Array", "skip_deserialize": False}
    raw = NUMBERS.tobytes()
    packed = zlib.compress(raw)

    def make(name: str, message: str, data: bytes = packed, key: str = "w", **changes: Any):
        path = folder / name.replace(" ", "_")
        (path / "w").mkdir(parents=True)
        (path / "w/.zarray").write_text(json.dumps({**good, **changes}))
        (path / "w/0").write_bytes(data)
        entry = {"key_metadata": [{"key": key, "key_type": 2}], "value_metadata": value}
        (path / "_METADATA").write_text(json.dumps({"tree_metadata": {"('w',)": entry}}))
        return path, message

    cases = {
        "fine": make("fine", "", data=packed),
        "shape": make("shape", "its .* bytes stand for", shape=[2**40]),
        "chunk": make("chunk", "its .* bytes stand for", chunks=[2**40]),
        "pieces": make("pieces", "in 1048576 pieces", shape=[2**20], chunks=[1]),
        "bomb": make("bomb", "End of data", data=b"\x78\xda" + write.bomb(3000)),
        "blosc": make("blosc", "blosc", compressor={"id": "blosc", "cname": "lz4", "clevel": 5,
                                                    "shuffle": 1, "blocksize": 0}),
        "elsewhere": make("elsewhere", r"'\.\./fine/w' leads out", key="../fine/w"),
        "absolute": make("absolute", "leads out", key="/etc"),
        "missing": make("missing", "NOT_FOUND|not found|does not exist", key="v"),
        "negative": make("negative", "shape", shape=[-12]),
        "objects": make("objects", "dtype", dtype="|O"),
        "dimensions": make("dimensions", "", chunks=[3, 4]),
    }  # fmt: skip
    for name, text in {
        "no JSON": "{",
        "deep JSON": '{"a":' * 50_000,
        "list": "[]",
        "no tree": "{}",
        "no keys": '{"tree_metadata": {"x": {"key_metadata": [], "value_metadata": {}}}}',
    }.items():
        cases[name] = make(name, "is cut short or damaged")
        (cases[name][0] / "_METADATA").write_text(text)
    cases["two"] = folder / "two", "several Orbax checkpoints; give .*: a, b"
    for part in "ab":
        shutil.copytree(cases["fine"][0], folder / "two" / part)
    shutil.copytree(cases["fine"][0], folder / "aggregate")
    (folder / "aggregate/checkpoint").write_bytes(as_msgpack({"w": "PLACEHOLDER://../../x"}))
    cases["aggregate"] = folder / "aggregate", "leads out"
    return cases


# ---- whole files of every format, and what a bad disk makes of them


def good_files(folder: Path) -> dict[str, Path]:
    import orbax.checkpoint as ocp

    said = {"state_dict": {"w": WEIGHT, "v": tensor(storage("1", "LongStorage", 1), ())},
            "args": Call(Global("argparse", "Namespace"), (), {"lr": 0.1}, new=True)}  # fmt: skip
    storages = {"0": NUMBERS, "1": np.array(3)}
    module = Call(Global("__torch__", "Net"), (), said["state_dict"], new=True)
    paths = {name: folder / f"good_{name}" for name in ("zip", "stream", "script")}
    write.write_zip(paths["zip"], said, storages)
    write.write_stream(paths["stream"], said, storages)
    write.write_zip(paths["script"], module, storages, members={"constants.pkl": pickled(())})
    flat = {"params/w": NUMBERS, "params/n": np.arange(3)}
    for name, save in (("npz", np.savez), ("npz_deflated", np.savez_compressed)):
        paths[name] = folder / f"good_{name}"
        with paths[name].open("wb") as file:
            save(file, **flat)
    paths["msgpack"] = folder / "checkpoint_3"
    paths["msgpack"].write_bytes(serialization.msgpack_serialize(TREE))
    paths["safetensors"] = folder / "good_safetensors"
    write_tensors(paths["safetensors"], flat)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, database in (("orbax", True), ("orbax_files", False)):
            paths[name] = folder / f"good_{name}"
            ocp.PyTreeCheckpointer(use_ocdbt=database).save(paths[name], TREE)
    return paths


def damaged(good: dict[str, Path], folder: Path) -> list[Path]:
    """Each file cut short at `CUTS` places and with some bytes changed `FLIPS` times."""
    rng = np.random.default_rng(0)
    made = []
    for name, path in good.items():
        for i in range(CUTS + FLIPS):
            copy = folder / f"{name}_{i}"
            target = copy
            if path.is_dir():
                shutil.copytree(path, copy)
                inner = sorted(f for f in copy.rglob("*") if f.is_file() and f.stat().st_size)
                target = inner[rng.integers(len(inner))]
            data = bytearray((target if path.is_dir() else path).read_bytes())
            if i < CUTS:
                del data[len(data) * i // CUTS :]
            else:
                for place in rng.integers(len(data), size=rng.integers(1, 4)):
                    data[place] = (0, 1, 127, 128, 255, int(rng.integers(256)))[rng.integers(6)]
            target.write_bytes(data)
            made.append(copy)
    return made
