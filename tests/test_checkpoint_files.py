"""Checkpoints of every format: each tensor by its name, in its precision, and nothing else."""

from __future__ import annotations

import argparse
import collections
import json
import mmap
import pickle
import stat
import warnings
import zipfile
from pathlib import Path

import jax.numpy as jnp
import ml_dtypes
import msgpack
import numpy as np
import pytest
from flax import serialization

from rival_jax.weights import safetensors
from rival_jax.weights.inert_pickle import Foreign
from rival_jax.weights.reader import read_tensors, read_tree
from tests import checkpoint_writers as write
from tests.checkpoint_writers import Call, Global, Raw, storage, stored, tensor

TENSORS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a.half": np.arange(3, dtype=np.float16),
    "a.brain": np.arange(3).astype(ml_dtypes.bfloat16),
    "a.count": np.array(7),
    "a.mask": np.array([True, False]),
    "a.bytes": np.arange(5, dtype=np.uint8),
    "a.empty": np.zeros((0, 4), np.float32),
}


@pytest.fixture
def golden(shared) -> Path:
    return shared / "golden/rival10/checkpoints"


def assert_equal(got: dict, expected: dict) -> None:
    assert list(got) == list(expected)
    for name, value in expected.items():
        assert got[name].dtype == value.dtype, name
        np.testing.assert_array_equal(got[name], value, err_msg=name)


def under(prefix: str, tensors: dict) -> dict:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


# ---- the reference files


def test_reference_names_and_types(golden):
    facts = json.loads((golden / "facts.json").read_text())
    robust = read_tensors(golden / "robust_resnet_legacy_dill.ckpt")
    assert set(facts["robust_keys"]) <= set(robust)
    head = facts["finetuned_resnet_keys_head"]
    finetuned = read_tensors(golden / "rival10_finetuned_resnet.pth")
    assert set(head) <= set(finetuned)
    assert next(iter(finetuned)) == head[0]
    duplicated = read_tensors(golden / "rival10_finetuned_vit.pth")
    prefixes = {name.split(".")[0] for name in duplicated}
    assert sorted(prefixes) == facts["finetuned_vit_duplicate_prefixes"]
    for kind in ("vit", "rn"):
        tensors = read_tensors(golden / f"clip_{kind}_jit.pt")
        counted = collections.Counter(f"torch.{value.dtype}" for value in tensors.values())
        assert counted == facts[f"clip_{kind}_dtypes"]
        assert tensors["input_resolution"].shape == ()
    arch = facts["clip_vit_arch"]
    shape = (arch["w"], 3, arch["p"], arch["p"])
    assert read_tensors(golden / "clip_vit_jit.pt")["visual.conv1.weight"].shape == shape


def test_reference_files_agree(golden):
    new = read_tensors(golden / "torchvision_resnet_zip.pth")
    assert_equal(read_tensors(golden / "torchvision_resnet_legacy.pth"), new)
    assert {name for name, value in new.items() if value.ndim == 0} == {
        name for name in new if name.endswith("num_batches_tracked")
    }
    robust = read_tensors(golden / "robust_resnet_legacy_dill.ckpt")
    assert_equal(read_tensors(golden / "robust_resnet_legacy_dill_foreign.ckpt"), robust)
    assert_equal(under("module.model.", robust), under("module.attacker.model.", robust))
    plain = read_tensors(golden / "vit_augreg.npz")
    prefixed = read_tensors(golden / "vit_augreg_opt_prefix.npz")
    assert_equal(under("opt/target/", prefixed), plain)
    deit = read_tensors(golden / "deit_style.pth")
    kernel = deit["patch_embed.proj.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(plain["embedding/kernel"], kernel)
    np.testing.assert_array_equal(plain["head/kernel"], deit["head.weight"].T)
    assert all(name.startswith(("encoder.", "projection.")) for name in read_tensors(
        golden / "simclr_lightning.ckpt"))  # fmt: skip


def test_reference_aliases_share_memory(golden):
    tensors = read_tensors(golden / "rival10_finetuned_vit.pth")
    aliases = [name for name in tensors if name.startswith("feat_net.")]
    assert aliases
    for name in aliases:
        assert any(np.shares_memory(tensors[name], other) for key, other in tensors.items()
                   if not key.startswith("feat_net."))  # fmt: skip


def foreign(tree) -> set[str]:
    """Names of all placeholders in a tree, and of those they were called with."""
    if isinstance(tree, Foreign):
        return {tree.name} | foreign(tree.args) | foreign(tree.content)
    values = list(tree.values()) + list(tree) if isinstance(tree, dict) else tree
    return set().union(*map(foreign, values)) if isinstance(values, list) else set()


def test_reference_placeholders_name_what_the_file_asked_for(golden):
    facts = json.loads((golden / "facts.json").read_text())["pickle_globals"]
    for name, known in facts.items():
        assert foreign(read_tree(golden / name)) <= set(known), name
    tree = read_tree(golden / "simclr_lightning.ckpt")
    assert "<pytorch_lightning.utilities.parsing.AttributeDict, not built>" in repr(tree)
    assert "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint" in foreign(tree)
    tree = read_tree(golden / "robust_resnet_legacy_dill_foreign.ckpt")
    assert "dill._dill._load_type" in foreign(tree)
    assert {"model", "epoch"} <= set(tree)
    assert isinstance(read_tree(golden / "rival10_finetuned_resnet.pth")["acc"], np.ndarray)


# ---- torch


@pytest.mark.parametrize("writer", [write.write_zip, write.write_stream])
def test_types_and_shapes(writer, tmp_path):
    path = writer(tmp_path / "x.bin", *stored(TENSORS))
    assert_equal(read_tensors(path), TENSORS)


@pytest.mark.parametrize("name", ["x.pt", "x.ckpt", "x.npz"])
def test_tensors_are_pieces_of_the_mapped_file(name, tmp_path):
    tensors = {"w": np.arange(6, dtype=np.float32).reshape(2, 3)}
    if name == "x.npz":
        np.savez(tmp_path / name, w=tensors["w"])
    else:
        (write.write_zip if name == "x.pt" else write.write_stream)(
            tmp_path / name, *stored(tensors)
        )
    value = read_tensors(tmp_path / name)["w"]
    assert not value.flags.writeable
    base = value
    while isinstance(base, np.ndarray | memoryview):
        base = base.base if isinstance(base, np.ndarray) else base.obj
    assert isinstance(base, mmap.mmap)


@pytest.mark.parametrize("writer", [write.write_zip, write.write_stream])
def test_views_share_their_storage(writer, tmp_path):
    numbers = np.arange(24, dtype=np.float32)
    where = storage("0", "FloatStorage", 24, device="cuda:0")
    said = {
        "whole": tensor(where, (4, 6)),
        "transposed": tensor(where, (6, 4), (1, 6)),
        "part": tensor(where, (2, 3), (6, 1), 8),
        "repeated": tensor(where, (5, 6), (0, 1), 6),
        "scalar": tensor(where, (), (), 3),
    }
    got = read_tensors(writer(tmp_path / "x.pt", said, {"0": numbers}))
    whole = numbers.reshape(4, 6)
    expected = {
        "whole": whole,
        "transposed": whole.T,
        "part": whole[1:3, 2:5],
        "repeated": np.broadcast_to(whole[1], (5, 6)),
        "scalar": np.float32(3),
    }
    assert_equal(got, expected)
    assert all(np.shares_memory(got["whole"], value) for value in got.values())
    assert jnp.asarray(got["part"]).tolist() == whole[1:3, 2:5].tolist()


def test_parts_of_storages_in_old_streams(tmp_path):
    where = storage("7", "FloatStorage", 8, ("view", 2, 4))
    path = write.write_stream(
        tmp_path / "x", {"w": tensor(where, (4,))}, {"7": np.arange(8, dtype=np.float32)}
    )
    np.testing.assert_array_equal(read_tensors(path)["w"], [2, 3, 4, 5])


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        ({"state_dict": "it", "optimizer": "other"}, "it"),
        ({"optimizer": "other", "model": "it", "ema": "other"}, "it"),
        ({"state": {"model": "it", "step": 3}}, "it"),
        ({"student": "other", "teacher": "it"}, "it"),
        ({"encoder": "other", "prototypes": 1, "target_encoder": "it"}, "it"),
        ({"model": "resnet50", "state": "it"}, "it"),
        ({"model": {"name": "resnet50"}, "module": "it"}, "it"),
        ({"model": Call(Global("torch.nn", "Net"), (), "it", new=True)}, "it"),
    ],
)
def test_wrappers(tree, expected, tmp_path):
    tensors = {"w": np.ones(2, np.float32), "other": np.zeros(3, np.float32)}
    said, storages = stored(tensors)

    def filled(value):
        if isinstance(value, dict):
            return {key: filled(inner) for key, inner in value.items()}
        if isinstance(value, Call):
            return Call(value.function, value.args, filled(value.state), value.new)
        found = {"it": {"w": said["w"]}, "other": {"other": said["other"]}}
        return found.get(value, value)

    path = write.write_zip(tmp_path / "x.pt", filled(tree), storages)
    assert_equal(read_tensors(path), {"w": tensors["w"]})


def test_names_of_nested_things_are_joined(tmp_path):
    said, storages = stored({"w": np.ones(2, np.float32)})
    tree = {"a": [{"b": said["w"]}, 3, None], 5: (said["w"],)}
    path = write.write_zip(tmp_path / "x.pt", tree, storages)
    assert list(read_tensors(path)) == ["a.0.b", "5.0"]
    tree = {"a.b": said["w"], "a": {"b": said["w"]}}
    with pytest.raises(ValueError, match=r"x\.pt holds two tensors named a\.b"):
        read_tensors(write.write_zip(tmp_path / "x.pt", tree, storages))
    with pytest.raises(ValueError, match=r"x\.pt holds no tensors"):
        read_tensors(write.write_zip(tmp_path / "x.pt", {"a": 1}, {}))


def test_a_torchscript_archive(tmp_path):
    said, storages = stored({"w": np.ones(2, np.float16), "n": np.array(224)})
    inner = Call(Global("__torch__.torch.nn", "Linear"), (), {"weight": said["w"]}, new=True)
    tree = Call(
        Global("__torch__.___torch_mangle_1", "Net"),
        (),
        {"training": False, "visual": inner, "input_resolution": said["n"], "hook": None},
        new=True,
    )
    code = {"code/__torch__.py": b"raise SystemExit", "constants.pkl": b"not a pickle"}
    path = write.write_zip(tmp_path / "x.pt", tree, storages, order=None, members=code)
    assert {k: v.dtype.name for k, v in read_tensors(path).items()} == {
        "visual.weight": "float16",
        "input_resolution": "int64",
    }
    assert repr(read_tree(path)) == "<__torch__.___torch_mangle_1.Net, not built>"


def test_a_pickled_module(tmp_path):
    said, storages = stored({"w": np.ones(2, np.float32), "m": np.ones(3, np.float32)})
    inner = {"_parameters": {"weight": said["w"]}, "_buffers": {"mean": said["m"]}}
    layer = Call(Global("torch.nn", "BatchNorm2d"), (), {**inner, "_modules": {}}, new=True)
    state = {"_parameters": {}, "_buffers": {}, "_modules": {"bn": layer}}
    whole = Call(Global("mymodels", "Net"), (), state, new=True)
    path = write.write_zip(tmp_path / "x.pt", whole, storages)
    assert list(read_tensors(path)) == ["bn.weight", "bn.mean"]
    named = write.Persistent(("module", Global("mymodels", "Net"), "net.py", "raise SystemExit"))
    path = write.write_stream(tmp_path / "x.pt", Call(named, (), state, new=True), storages)
    assert list(read_tensors(path)) == ["bn.weight", "bn.mean"]


def test_what_every_protocol_says(tmp_path):
    """Values other than tensors, by Python's own pickler, each twice so that the memo is used."""
    value = {
        "numbers": [1, -(2**40), 2.5, True, None, 2**70],
        "text": ["plain", "λ", b"bytes"],
        "tuples": (1, (2,), (3, 4), (5, 6, 7), (8, 9, 10, 11)),
        "ordered": collections.OrderedDict(a=1),
        "default": collections.defaultdict(list, a=[1]),
        "set": {3},
        "frozen": frozenset([4]),
        "scalar": np.float64(2.5),
        "whole": np.int64(7),
        "array": np.arange(6, dtype=np.int32).reshape(2, 3).T,
        "objects": np.array([None, {}], object),
        "big": np.arange(2, dtype=">i4"),
        "namespace": argparse.Namespace(model="deit"),
        "class": argparse.ArgumentParser,
    }
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        code = pickle.dumps([value, value, value["scalar"], value["array"]], protocol)
        path = write.write_zip(tmp_path / "x.pt", Raw(code), {})
        got, again, scalar, array = read_tree(path)
        assert got is again
        assert (array is got["array"], scalar) == (True, 2.5)
        assert got["numbers"] == value["numbers"]
        assert got["text"] == value["text"]
        assert got["tuples"] == [1, [2], [3, 4], [5, 6, 7], [8, 9, 10, 11]]
        assert (got["ordered"], got["default"]) == ({"a": 1}, {"a": [1]})
        assert [type(got[key]) for key in ("ordered", "default")] == [dict, dict]
        assert (type(got["whole"]), got["whole"]) == (np.int64, 7)
        np.testing.assert_array_equal(got["array"], value["array"])
        assert repr(got["class"]) == "<argparse.ArgumentParser, not built>"
        assert repr(got["namespace"]) == "<argparse.Namespace, not built>"
        assert got["namespace"].content == {"model": "deit"}
        assert isinstance(got["objects"], Foreign)
        assert isinstance(got["big"], Foreign)
        if protocol > 1:  # below, sets are calls of copyreg
            assert (got["set"], got["frozen"]) in (([3], [4]), ([3], got["frozen"]))


def test_marks_are_taken_off_as_protocol_0_does(tmp_path):
    path = write.write_zip(tmp_path / "x.pt", Raw(b"K\x01(0K\x02\x86."), {})
    assert read_tree(path) == [1, 2]


@pytest.mark.parametrize("writer", [write.write_zip, write.write_stream])
def test_big_endian_files_are_refused(writer, tmp_path):
    big = {"order": "big"} if writer is write.write_zip else {"little": False}
    path = writer(tmp_path / "x.pt", *stored(TENSORS), **big)
    with pytest.raises(ValueError, match=r"x\.pt \(.* it is big-endian.* little-endian"):
        read_tensors(path)


# ---- Flax, Scenic, Orbax, NumPy

NETWORK = {
    "params": {
        "Dense_0": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.ones(3)},
        "scale": np.arange(2).astype(ml_dtypes.bfloat16),
    },
    "model_state": {"batch_stats": {"mean": np.zeros(3, np.float16)}},
}
FLAT = {
    "params/Dense_0/kernel": NETWORK["params"]["Dense_0"]["kernel"],
    "params/Dense_0/bias": NETWORK["params"]["Dense_0"]["bias"],
    "params/scale": NETWORK["params"]["scale"],
    "model_state/batch_stats/mean": NETWORK["model_state"]["batch_stats"]["mean"],
}
TRAIN_STATE = {
    "global_step": np.array(3, np.int32),
    "opt_state": {"0": {"mu": NETWORK["params"], "count": np.array(3)}, "1": {}},
    **NETWORK,
    "rng": np.array([0, 7], np.uint32),
}


def compare(got: dict, expected: dict) -> None:
    assert_equal(dict(sorted(got.items())), dict(sorted(expected.items())))


def test_scenic_checkpoints_in_one_file(tmp_path):
    path = tmp_path / "checkpoint_3"
    state = {**TRAIN_STATE, "metadata": {"name": "vit", "ok": True, "z": 1 + 2j}}
    path.write_bytes(serialization.msgpack_serialize(state))
    compare(read_tensors(path), FLAT)
    tree = read_tree(path)
    assert tree["metadata"] == state["metadata"]
    assert (tree["global_step"], tree["opt_state"]["1"]) == (3, {})
    old = {"optimizer": {"target": NETWORK["params"], "state": {"mu": np.ones(2)}}}
    path.write_bytes(serialization.to_bytes({**old, "model_state": NETWORK["model_state"]}))
    prefixed = {name.replace("params/", "optimizer/target/"): v for name, v in FLAT.items()}
    compare(read_tensors(path), prefixed)


def test_flax_checkpoints_of_other_shapes(tmp_path):
    path = tmp_path / "x.msgpack"
    path.write_bytes(serialization.to_bytes(NETWORK["params"]))
    compare(read_tensors(path), under("params/", {k: v for k, v in FLAT.items() if "params" in k}))
    path.write_bytes(serialization.to_bytes({"config": {"w": np.ones(3)}, "model": TRAIN_STATE}))
    compare(read_tensors(path), {f"model/{name}": value for name, value in FLAT.items()})
    path.write_bytes(serialization.to_bytes({"a": [np.ones(2), np.float32(3), 4, "text"]}))
    assert read_tree(path)["a"]["1"] == np.float32(3)
    assert list(read_tensors(path)) == ["a/0"]


def test_arrays_that_flax_cut_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", 10)
    path = tmp_path / "x.msgpack"
    path.write_bytes(serialization.msgpack_serialize(NETWORK))
    assert b"__msgpack_chunked_array__" in path.read_bytes()
    compare(read_tensors(path), FLAT)


@pytest.mark.parametrize("layout", ["standard", "managed", "one file each", "zarr3", "scenic"])
def test_orbax_folders(layout, tmp_path):
    import orbax.checkpoint as ocp
    from flax import config
    from flax.training import checkpoints

    path = tmp_path / "checkpoint_3"
    state = {**TRAIN_STATE, "empty": None, "list": [np.ones(1), np.zeros(2)]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if layout == "standard":
            with ocp.StandardCheckpointer() as writer:
                writer.save(path, state)
        elif layout == "managed":
            with ocp.CheckpointManager(path) as manager:
                manager.save(3, args=ocp.args.StandardSave(state))
                manager.wait_until_finished()
        elif layout == "one file each":
            ocp.PyTreeCheckpointer(use_ocdbt=False).save(path, {**state, "name": "vit"})
        elif layout == "zarr3":
            with ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_zarr3=True)) as writer:
                writer.save(path, {**state, "name": "vit"})
        else:
            config.update("flax_use_orbax_checkpointing", True)
            checkpoints.save_checkpoint(tmp_path, {**state, "name": "vit"}, 3)
    if layout == "managed":
        with pytest.raises(ValueError, match=r"no Orbax checkpoint; .* folders: 3"):
            read_tensors(path)
        path /= "3"
    compare(read_tensors(path), FLAT)
    tree = read_tree(path)
    assert tree["empty"] is None
    assert tree["global_step"] == 3
    assert tree.get("name") == (None if layout in ("standard", "managed") else "vit")
    np.testing.assert_array_equal(tree["list"]["1"], np.zeros(2))


def test_orbax_folders_of_its_first_year(tmp_path):
    """Then the tree was a msgpack file with small values in it, and the names of large arrays."""
    import orbax.checkpoint as ocp

    flat = {name.replace("/", "."): value for name, value in FLAT.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ocp.PyTreeCheckpointer(use_ocdbt=False).save(tmp_path / "x", flat)
    (tmp_path / "x/_METADATA").unlink()
    tree = {
        "params": {
            "Dense_0": {k: f"PLACEHOLDER://params.Dense_0.{k}" for k in ("kernel", "bias")},
            "scale": NETWORK["params"]["scale"],
        },
        "model_state": {"batch_stats": {"mean": "PLACEHOLDER://model_state.batch_stats.mean"}},
        "global_step": 3,
    }
    (tmp_path / "x/checkpoint").write_bytes(serialization.msgpack_serialize(tree))
    compare(read_tensors(tmp_path / "x"), FLAT)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(save, tmp_path):
    save(tmp_path / "x.npz", **{**FLAT, "opt/params/x": np.ones(2), "params/name": np.array("a")})
    compare(read_tensors(tmp_path / "x.npz"), FLAT)
    tree = read_tree(tmp_path / "x.npz")
    assert tree["params"]["name"] == "a"
    assert tree["params"]["scale"].dtype == ml_dtypes.bfloat16
    columns = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    save(tmp_path / "x.npz", a=columns, b=np.array(3), c=np.zeros((0, 2)), d=np.arange(4))
    back = {"a": columns, "b": np.array(3), "c": np.zeros((0, 2)), "d": np.arange(4)}
    assert_equal(read_tensors(tmp_path / "x.npz"), back)


def test_safetensors(tmp_path):
    path = tmp_path / "misnamed.pth"
    path.write_text("the former file")
    path.chmod(0o600)
    safetensors.write_tensors(path, TENSORS)
    compare(read_tensors(path), TENSORS)
    compare(read_tree(path), TENSORS)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_former_file(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    safetensors.write_tensors(path, TENSORS)

    def fails(tensors, where):
        Path(where).write_text("half of it")
        raise OSError("no space left")

    monkeypatch.setattr(safetensors, "save_file", fails)
    with pytest.raises(OSError, match="no space"):
        safetensors.write_tensors(path, {})
    compare(read_tensors(path), TENSORS)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a Git LFS pointer .*git lfs pull"),
        (pickle.dumps({"w": np.ones(2)}), "is a pickle that torch.save did not write"),
        (b"<!DOCTYPE html>", "it is a web page"),
        (b"", "empty file"),
        (zipfile.ZipFile, "has 0 members data.pkl where torch.save writes one"),
        (msgpack.packb(["a", "list"]), "is not of torch.save"),
    ],
)
def test_what_is_no_checkpoint_is_named(content, message, tmp_path):
    path = tmp_path / "weights.pth"
    if content is zipfile.ZipFile:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("readme.txt", "hello")
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"weights\.pth \(.* bytes\) .*{message}.*again"):
        read_tensors(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weights at .*x\.pth; give the path"):
        read_tree(tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"no Orbax checkpoint; .* folders: none"):
        read_tree(tmp_path)
