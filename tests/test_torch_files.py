"""Checkpoints as torch itself reads and writes them."""

from __future__ import annotations

import argparse
import pickle
import types
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is an extra")

from rival_jax.weights.reader import read_tensors, read_tree

GOLDEN = (
    *("clip_rn_jit.pt", "clip_vit_jit.pt", "deit_style.pth", "rival10_finetuned_resnet.pth"),
    *("rival10_finetuned_vit.pth", "robust_resnet_legacy_dill.ckpt", "simclr_lightning.ckpt"),
    *("robust_resnet_legacy_dill_foreign.ckpt", "torchvision_resnet_legacy.pth"),
    "torchvision_resnet_zip.pth",
)


class _Stubs(pickle.Unpickler):
    """For torch.load: classes that are not installed become empty ones."""

    def find_class(self, module, name):
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError):
            return type(name, (dict,), {"__init__": lambda *_: None, "__call__": lambda *_: None})


@pytest.mark.parametrize("name", GOLDEN)
def test_reference_files_as_torch_reads_them(shared, name):
    path = shared / "golden/rival10/checkpoints" / name
    if name.endswith(".pt"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = torch.jit.load(path).state_dict()
    else:
        stubs = types.SimpleNamespace(Unpickler=_Stubs, load=pickle.load, __name__="pickle")
        loaded = torch.load(path, "cpu", stubs, weights_only=False)
        keys = ("state_dict", "model", "state")
        expected = next((loaded[key] for key in keys if key in loaded), loaded)
    got = read_tensors(path)
    assert set(got) == set(expected)
    for key, value in expected.items():
        assert f"torch.{got[key].dtype}" == str(value.dtype), key
        np.testing.assert_array_equal(got[key], value.numpy(), err_msg=key)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_writes(zipped, tmp_path):
    base = torch.arange(24.0).reshape(4, 6)
    parameter = torch.nn.Parameter(base[:2])
    marked = torch.nn.Parameter(base[2:])
    tagged = base[0]
    marked.tag = tagged.tag = "attributes make them other functions' results"
    kinds = ("float16", "bfloat16", "float64", "int8", "int16", "int32", "uint8", "bool")
    newer = ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e5m2") if zipped else ()
    typed = {k: torch.arange(4).to(getattr(torch, k)) for k in (*kinds, *newer)}
    tree = {
        "state_dict": {
            **typed,
            "parameter": parameter,
            "marked": marked,
            "tagged": tagged,
            "transposed": base.T,
            "strided": base[1:, ::2],
            "expanded": torch.ones(1, 3).expand(5, 3),
            "nested": {"list": [base, base]},
        },
        "shape": base.shape,
        "device": torch.device("cpu"),
        "dtype": torch.float32,
        "sparse": torch.eye(2).to_sparse(),
        "conjugate": torch.ones(2, dtype=torch.complex64).conj(),
        "args": argparse.Namespace(lr=np.float64(0.1)),
    }
    path = tmp_path / "x.pt"
    torch.save(tree, path, _use_new_zipfile_serialization=zipped)
    got = read_tensors(path)
    flat = {k: v for k, v in tree["state_dict"].items() if k != "nested"}
    flat |= {"nested.list.0": base, "nested.list.1": base}
    assert list(got) == list(flat)
    for name, value in flat.items():
        assert f"torch.{got[name].dtype}" == str(value.dtype)
        expected = value.detach().to(torch.complex128).numpy()
        np.testing.assert_array_equal(got[name].astype(np.complex128), expected, err_msg=name)
    rest = read_tree(path)
    assert rest["shape"] == [4, 6]
    assert rest["args"].content == {"lr": 0.1}
    names = {rest[key].name for key in ("device", "dtype", "sparse", "conjugate")}
    assert {"torch.device", "torch.float32", "torch._utils._rebuild_sparse_tensor"} < names
