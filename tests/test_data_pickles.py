"""Attribute dictionaries are read without running what they ask for."""

from __future__ import annotations

import base64
import os
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest

from rival_jax.data import pickles
from rival_jax.data.pickles import RefusedPickle, read_attribute_dict

PICTURES = {"wings": b"\x89PNG\x00\xff", "entire-object": bytes(range(256)) * 400}


class Call:
    """Pickles as a call of `function(*args)`."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


class State:
    def __setstate__(self, state):
        os.makedirs(state["path"])


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", [str, bytes])
def test_every_protocol_is_read(tmp_path, protocol, kind):
    encoded = {name: base64.b64encode(content) for name, content in PICTURES.items()}
    if kind is str:
        encoded = {name: text.decode() for name, text in encoded.items()}
    path = tmp_path / "d.pkl"
    path.write_bytes(pickle.dumps(encoded, protocol))
    assert read_attribute_dict(path) == PICTURES


def test_python_2_strings_are_read(tmp_path):
    path = tmp_path / "d.pkl"
    path.write_bytes(b"(dp0\nS'wings'\np1\nS'iVBO'\np2\ns.")
    assert read_attribute_dict(path) == {"wings": base64.b64decode("iVBO")}
    path.write_bytes(b"\x80\x02}q\x00U\x05wingsq\x01U\x04iVBOq\x02s.")
    assert read_attribute_dict(path) == {"wings": base64.b64decode("iVBO")}


def test_reference_example_is_refused_in_silence(shared, capfd):
    path = shared / "golden/rival10/dataset_layout/unsafe_example_attr_dict.pkl"
    with pytest.raises(RefusedPickle, match="unsafe_example"):
        read_attribute_dict(path)
    assert capfd.readouterr() == ("", "")


def nasty(folder: str) -> dict[str, object]:
    state = State()
    state.path = folder
    return {
        "call": {"wings": Call(os.makedirs, folder)},
        "call at the top": Call(os.makedirs, folder),
        "call as key": {Call(os.makedirs, folder): "iVBO"},
        "call deep inside": {"wings": [{"a": ("b", Call(os.makedirs, folder))}]},
        "evaluation": {"wings": Call(eval, f"__import__('os').makedirs({folder!r})")},
        "state": {"wings": state},
        "ordered dict": OrderedDict(wings="iVBO"),
        "array": {"wings": np.zeros(3)},
        "numpy scalar": {"wings": np.float32(1)},
        "nested dict": {"wings": {"a": "iVBO"}},
        "list": {"wings": ["iVBO"]},
        "number": {"wings": 3},
        "number as key": {3: "iVBO"},
        "text": "iVBO",
        "nothing": None,
    }


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("name", nasty(""))
def test_anything_else_is_refused_and_never_runs(tmp_path, name, protocol):
    trap, path = tmp_path / "trap", tmp_path / "d.pkl"
    path.write_bytes(pickle.dumps(nasty(str(trap))[name], protocol))
    with pytest.raises(RefusedPickle, match=r"refused .*d\.pkl"):
        read_attribute_dict(path)
    assert not trap.exists()


@pytest.mark.parametrize("name", ["call", "evaluation"])
def test_the_traps_spring_when_opened_naively(tmp_path, name):
    trap = tmp_path / "trap"
    pickle.loads(pickle.dumps(nasty(str(trap))[name]))
    assert trap.exists()


@pytest.mark.parametrize(
    ("program", "words"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "asks for os.system"),
        (b"(S'true'\nios\nsystem\n.", "INST"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "STACK_GLOBAL"),
        (b"\x80\x02\x82\x01.", "EXT1"),
        (b"Pid\n.", "PERSID"),
        (b"c_codecs\nencode\n(Vx\nVzlib\ntR.", "codec 'zlib'"),
        (b"c_codecs\ndecode\n.", "asks for _codecs.decode"),
        (b"\x80\x02}r" + struct.pack("<I", 2**31 - 1) + b".", "memo place"),
        (b"\x80\x02}p2147483647\n.", "memo place"),
        (b"\x80\x02" + b"}" * 5000 + b".", "more than 4096 instructions"),
        (b"\x80\x02VaVb\ns.", "refused"),
        (b"\x80\x02}Va\n}s.", "'a' is dict"),
        (b"\x80\x02(t.", "holds tuple"),
    ],
)
def test_hand_written_programs_are_refused(tmp_path, program, words):
    path = tmp_path / "d.pkl"
    path.write_bytes(program)
    with pytest.raises(ValueError, match="refused") as error:
        read_attribute_dict(path)
    assert words in str(error.value)


def test_huge_files_are_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / "d.pkl"
    path.write_bytes(pickle.dumps({"wings": "iVBO" * 1000}))
    monkeypatch.setattr(pickles, "MAX_BYTES", 1000)
    with pytest.raises(RefusedPickle, match="larger than 1000 bytes"):
        read_attribute_dict(path)


@pytest.mark.parametrize(
    "content",
    [b"not a pickle", b"", pickle.dumps({"a": "b" * 99})[:50], b"\x80\x04\x8e" + b"\xff" * 8],
)
def test_damaged_files_are_told_from_refused_ones(tmp_path, content):
    path = tmp_path / "d.pkl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"d\.pkl") as error:
        read_attribute_dict(path)
    assert not isinstance(error.value, RefusedPickle)


def test_text_that_is_not_base64_is_named(tmp_path):
    path = tmp_path / "d.pkl"
    path.write_bytes(pickle.dumps({"wings": "abcde"}))
    with pytest.raises(ValueError, match="'wings' is not base64"):
        read_attribute_dict(path)
