"""Any one tensor that is absent, misnamed or misshapen is named, in every file of every family."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator, Mapping

import jax
import numpy as np
import pytest

from rival_jax.models import conversion
from tests.network_cases import CASES, WRAPPED, load, of_file
from tests.network_wrappings import WRAPPINGS, Wrapped

# What happens to the one tensor. The tables below are of "network wrapping change tensor", where
# the tensor is called as an error calls it.
CHANGES = {
    "dropped": lambda name, tensor: {},
    "renamed": lambda name, tensor: {f"{name}_x": tensor},
    "deeper": lambda name, tensor: {name: tensor[..., None]},
    "flattened": lambda name, tensor: {name: tensor.reshape(-1)},
    "doubled": lambda name, tensor: {name: np.stack([tensor, tensor]).reshape(_doubled(tensor))},
}
# The same network comes out.
HARMLESS = {
    "batch norm's step counter": r"\S+ \S+ (dropped|deeper|doubled) \S+num_batches_tracked",
    "held twice": r"\S+ finetuned_vit dropped (?!cls_token|pos_embed)\S+",
    "flattened anyway": r"\S+ madry (deeper|flattened) module.normalizer.\S+",
}
# Of these the architecture is read, so that the error names the tensors that do not fit it.
TELLING = {
    "which parts there are": r"\S+ \S+ (dropped|renamed) (blocks.0.(attn.qkv.bias|ls1.gamma)|"
    r"(norm_pre|fc_norm|pre_logits.fc|layer1.0.conv3).weight|(dist|reg)_token)|"
    r"average \S+ (dropped|renamed) cls_token",
    "sizes": r"\S+ \S+ ((deeper|flattened) patch_embed.proj.weight|"
    r"doubled (conv1.weight|class_embedding|\S+.0.mlp.(fc1|c_fc).weight|"
    r"pre_logits.fc.weight|attnpool.c_proj.weight))|"
    r"clip_resnet \S+ (doubled|flattened) conv3.weight",
    "the number of blocks": r"\S+ big_vision_stacked doubled blocks.0.\S+",
}


def _doubled(tensor: np.ndarray) -> tuple[int, ...]:
    return (2 * tensor.shape[0], *tensor.shape[1:]) if tensor.ndim else (2,)


@pytest.fixture(autouse=True)
def _one_trace_a_network(monkeypatch):
    """Thousands of files for a few dozen networks."""
    real, kept = conversion.torch_rules, {}

    def rules(init, *arguments):
        if init not in kept:
            kept[init] = real(init, *arguments)
        return kept[init]

    monkeypatch.setattr(conversion, "torch_rules", rules)


def _in(table: Mapping[str, str], key: str) -> bool:
    return any(re.fullmatch(row, key) for row in table.values())


def _names(message: str, names: Iterable[str]) -> bool:
    return any(re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", message) for name in names)


def trials(name: str, wrapping: str) -> Iterator[tuple[str, str, str, str | None]]:
    """Key, name in the file, change, and what an error calls it.

    Of tensors that differ in their layer's number the first has every change, the others by turns.
    """
    seen = set()
    for place, (tensor, (values, known)) in enumerate(_wrapped(name, wrapping).items()):
        kind = re.sub(r"\b\d+\b|(?<=layer)\d", "#", tensor)
        for change in CHANGES if kind not in seen else [[*CHANGES][place % len(CHANGES)]]:
            seen.add(kind)
            if change != "flattened" or values.ndim > 1:
                yield f"{name} {wrapping} {change} {known or tensor}", tensor, change, known


def problem(key: str, tensor: str, change: str, known: str | None) -> str | None:
    """What is wrong about how a file with one changed tensor is received."""
    case, wrapping = key.split()[:2]
    wrapped = _wrapped(case, wrapping)
    tensors = of_file(wrapped)
    tensors |= CHANGES[change](tensor, tensors.pop(tensor))
    try:
        _, variables, _ = load(tensors, CASES[case].config)
    except ValueError as error:
        message = str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    else:
        harmless = known is None or _in(HARMLESS, key)
        return None if harmless and _same(variables, _unchanged(case, wrapping)) else "loads"
    if _in(TELLING, key) and re.search(r"(missing|in|of) [^:;]+: \S+|pos_embed has \d", message):
        return None
    names = [known, f"{known}_x"] if known else []
    renamed = any(f"{tensor}_x".endswith(stray) for stray in re.findall(r"[\w./]+_x\b", message))
    return None if renamed or _names(message, names) else f"unnamed: {message}"


@functools.cache
def _wrapped(name: str, wrapping: str) -> Wrapped:
    return WRAPPINGS[wrapping](CASES[name].tensors)


@functools.cache
def _unchanged(name: str, wrapping: str):
    return load(of_file(_wrapped(name, wrapping)), CASES[name].config)[1]


def _same(one, other) -> bool:
    if jax.tree.structure(one) != jax.tree.structure(other):
        return False
    return all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other)))


@pytest.mark.parametrize(("name", "wrapping"), WRAPPED)
def test_any_one_tensor_that_does_not_fit_is_named(name, wrapping):
    found = [(trial, problem(*trial)) for trial in trials(name, wrapping)]
    assert [(trial, what) for trial, what in found if what] == []


@pytest.mark.parametrize("table", [HARMLESS, TELLING], ids=["harmless", "telling"])
def test_the_tables_are_of_files_that_there_are(table):
    keys = [key for pair in WRAPPED for key, *_ in trials(*pair)]
    assert [
        reason for reason, row in table.items() if not any(map(re.compile(row).fullmatch, keys))
    ] == []


@pytest.mark.parametrize(
    ("name", "head"), [("vit", "head"), ("resnet", "fc"), ("distilled", "head")]
)
def test_a_network_without_any_of_its_head(name, head):
    """No error where a trunk alone is asked for, one that says so where nothing is said."""
    case = CASES[name]
    trunk = {key: t for key, t in case.tensors.items() if not key.startswith(head)}
    model, _, _ = load(trunk, dataclasses.replace(case.config, num_classes=0))
    assert model.num_classes == 0
    for tensors in (trunk, {**trunk, f"{head}.bias": case.tensors[f"{head}.bias"]}):
        with pytest.raises(ValueError, match=r"no head and no num_classes; .* num_classes: 0"):
            load(tensors, dataclasses.replace(case.config, num_classes=None))
    with pytest.raises(ValueError, match=rf"missing from the file: {head}.bias, {head}.weight"):
        load(trunk, case.config)


@pytest.mark.parametrize("name", ["blocks.1.norm2.bias", "feat_net.0.proj.weight", "head.bias"])
def test_two_copies_that_differ_are_refused(name):
    wrapped = _wrapped("vit", "finetuned_vit")
    tensors, known = of_file(wrapped), wrapped[name][1]
    with pytest.raises(ValueError, match=rf"holds {known} twice, with different values"):
        load({**tensors, name: tensors[name] + 1}, CASES["vit"].config)
