"""A network's outputs are named by its files, and meet the data set's classes by name."""

from __future__ import annotations

import inspect
import json
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rival_jax import models, weights
from rival_jax.experiments import rows
from rival_jax.heads import Context, _meeting, full, imagenet, own
from rival_jax.runtime.parallel import data_mesh
from rival_jax.types import Geometry, Model
from rival_jax.weights import catalogue, class_names
from tests.helpers import save_tiny_vit

CLASSES = ("cat", "dog", "great tit")
WNIDS = tuple((resources.files("rival_jax") / "assets" / "imagenet_wnids.txt").read_text().split())


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({"label_names": ["a", "b"]}, ("a", "b")),
        (
            {"label_names": ["n1", "n2"], "label_descriptions": {"n1": "tabby, tabby cat"}},
            ("n1, tabby, tabby cat", "n2"),
        ),
        ({"id2label": {"1": "b", "0": "a"}}, ("a", "b")),
        ({"id2label": {"10": "k", **{str(i): "abcdefghij"[i] for i in range(10)}}},
         tuple("abcdefghijk")),
        ({"label2id": {"b": 1, "a": 0}}, ("a", "b")),
        ({"class_to_idx": {"0": 0, "1": 1, "10": 2, "2": 3}}, ("0", "1", "10", "2")),
        ({"categories": ["a", "b"]}, ("a", "b")),
        ({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}, None),
        ({"label_names": ["0", "1"]}, None),
        ({"id2label": {"0": "LABEL_1", "1": "LABEL_0"}}, ("LABEL_1", "LABEL_0")),
        ({}, None),
    ],
)  # fmt: skip
def test_names_in_a_config(config, names):
    assert class_names.in_config(config) == names


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"id2label": {"0": "a", "2": "b"}}, "id2label: expected the numbers 0 to 1"),
        ({"label2id": {"a": 0, "b": 0}}, "label2id: two names have one number"),
        ({"label_names": ["a", ""]}, "label_names: output 1 is called ''"),
        ({"label_names": ["a", 3]}, "label_names: output 1 is called 3"),
        ({"class_names": "cat"}, "class_names: expected a list"),
    ],
)
def test_names_that_are_none_are_refused(config, said):
    with pytest.raises(ValueError, match=said):
        class_names.in_config(config)


def configured(folder, **more):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | more))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return save_tiny_vit(tmp_path_factory.mktemp("nets") / "tiny")


@pytest.fixture
def folder(tiny, tmp_path):
    for file in tiny.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def test_a_networks_names_are_read_and_written(folder, tmp_path):
    assert models.load(str(folder))[0].class_names is None
    configured(folder, label_names=list(CLASSES))
    model, variables = models.load(str(folder))
    assert model.class_names == CLASSES
    models.save(tmp_path / "copy", model, variables)
    assert models.load(str(tmp_path / "copy"))[0].class_names == CLASSES


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("class_names.txt", "\ufeffcat\r\ndog \r\ngreat tit\r\n"),
        ("class_names.json", '["cat", "dog", "great tit"]'),
        ("class_names.json", '{"dog": 1, "great tit": 2, "cat": 0}'),
    ],
)
def test_the_users_own_list_counts_first(folder, file, text):
    configured(folder, label_names=["x", "y", "z"])
    (folder / file).write_text(text, encoding="utf-8", newline="")
    assert models.load(str(folder))[0].class_names == CLASSES


def test_names_of_another_number_are_refused(folder):
    """But not those of `pretrained_cfg`, which a finetuned head keeps of its source."""
    configured(folder, pretrained_cfg={"label_names": ["a"] * 5})
    assert models.load(str(folder))[0].class_names is None
    configured(folder, label_names=["a", "b"])
    with pytest.raises(ValueError, match=r"2 names for 3 outputs \(a, b, ...\).*class_names.txt"):
        models.load(str(folder))
    (folder / "class_names.txt").write_text("cat\n\ndog\n")
    with pytest.raises(ValueError, match=r"class_names.txt: output 1 is called ''"):
        models.load(str(folder))
    (folder / "class_names.txt").unlink()
    (folder / "class_names.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=r"class_names.json: .*write the name of each output"):
        models.load(str(folder))


@pytest.mark.parametrize("tree", [
    {"class_to_idx": {"dog": 1, "great tit": 2, "cat": 0}},
    {"meta": {"categories": list(CLASSES)}},
    {"dataset_meta": {"classes": list(CLASSES)}, "labels": 3, "classes": {"cat": [1]}},
])  # fmt: skip
def test_names_in_a_checkpoint(tmp_path, monkeypatch, tree):
    monkeypatch.setattr(class_names, "read_tree", lambda file: {"state_dict": {}, **tree})
    assert class_names.in_checkpoint(tmp_path / "w.pth") == CLASSES


def test_bundled_and_published_networks_are_named():
    named = models.load("scenes/vit_00")[0].class_names or ()
    assert named[:3] == ("truck", "car", "plane")
    assert len(WNIDS) == 1000
    named = {e.config.num_classes: e.config.class_names for e in catalogue.entries() if e.config}
    assert named == {1000: WNIDS, 0: None, 21843: None}


@pytest.mark.parametrize(
    ("outputs", "classes", "order"),
    [
        (("c", "b", "a"), ("a", "b", "c"), (2, 1, 0)),
        (("Sports_Car", "fire-engine"), ("fire engine", "sports car"), (1, 0)),
        (("Egyptian cat", "tabby, tabby cat"), ("tabby cat", "egyptian_cat"), (1, 0)),
        (("cat", "Cat"), ("Cat", "cat"), (1, 0)),
        (("cafe\u0301", "the"), ("the", "caf\u00e9"), (1, 0)),
        (("a", "b", "c", "d"), ("d", "a"), (3, 0)),
    ],
)
def test_classes_find_their_outputs(outputs, classes, order):
    assert _meeting.by_name(outputs, classes, None) == order


def test_classes_find_their_outputs_by_synset():
    outputs = ("n02123394, Persian cat", "n02099712")
    wnids = (("n02099712", "n02099601"), ("n02123394", "n02124075"))
    assert _meeting.by_name(outputs, ("dog", "cat"), wnids) == (1, 0)


@pytest.mark.parametrize(
    ("outputs", "classes", "said"),
    [
        (("cats", "dog"), ("cat", "dog"), r"no output for class 'cat' \(nearest: 'cats'\)"),
        (("crane", "crane"), ("crane", "dog"), r"'crane' \(several: 'crane', 'crane'\), 'dog'"),
        (("cat", "dog"), ("Cat", "CAT"), "no output for class 'Cat'"),
        (("tabby, cat", "siamese, cat"), ("cat", "dog"), "'cat' .several"),
        (tuple("abcdefg"), tuple("tuvwxyz"), "and 2 more; outputs are a, b"),
    ],
)
def test_classes_that_cannot_meet_are_refused(outputs, classes, said):
    with pytest.raises(ValueError, match=said):
        _meeting.by_name(outputs, classes, None)


def network(names, logits=None):
    count = len(names) if isinstance(names, tuple) else names
    logits = jnp.arange(count, dtype=jnp.float32)[None] if logits is None else logits
    named = names if isinstance(names, tuple) else None
    forward = lambda variables, images, added: (logits, {})  # noqa: E731
    return Model("net", forward, lambda key: {}, count, "none", class_names=named)


def asked(classes, wnids=None, **options):
    notes: list[str] = []
    made = Context(
        classes=classes,
        class_wnids=wnids,
        geometry=Geometry(),
        train=lambda: None,
        test=lambda: None,
        batch_size=lambda: 1,
        options=options,
        cache=Path(),
        mesh=data_mesh(),
        report=notes.append,
        note=notes.append,
    )
    return made, notes


def logits_of(model):
    return np.asarray(model.forward({}, jnp.zeros((1, 1, 1, 3)), {})[0])


def test_named_outputs_are_put_in_the_order_of_the_classes():
    context, notes = asked(CLASSES)
    model, _, facts = own.attach(network(CLASSES[::-1]), {}, context)
    assert logits_of(model).tolist() == [[2, 1, 0]]
    assert facts == {"head": "own", "outputs": "2, 1, 0 for cat, dog, great tit"}
    same = network(CLASSES)
    assert own.attach(same, {}, context) == (same, {}, {"head": "own"})
    assert not notes


def test_other_orders_of_many_outputs_have_other_facts():
    names = tuple(f"name {i}" for i in range(60))
    swapped = (*names[:30], names[31], names[30], *names[32:])
    orders = [(*swapped[:40], swapped[41], swapped[40], *swapped[42:]), swapped]
    facts = [own.attach(network(order), {}, asked(names)[0])[2] for order in orders]
    assert facts[0] != facts[1]


def test_unnamed_outputs_are_taken_in_order_and_it_is_said():
    context, notes = asked(CLASSES)
    model, _, facts = own.attach(network(3), {}, context)
    assert logits_of(model).tolist() == [[0, 1, 2]]
    assert facts == {"head": "own"}
    assert "net: outputs 0 to 2 are taken to be cat, dog, great tit, in this order" in notes[0]


def test_numbered_folders_are_the_numbers_of_named_outputs():
    """Where the names are no numbers themselves: a checkpoint of folders has its own order."""
    context, notes = asked(("0", "1", "2"))
    model, _, _ = own.attach(network(CLASSES), {}, context)
    assert logits_of(model).tolist() == [[0, 1, 2]]
    assert "folders 0 to 2 are taken for the numbers of the outputs" in notes[0]
    context, notes = asked(("0", "1", "2", "10"))
    model, _, _ = own.attach(network(("0", "1", "10", "2")), {}, context)
    assert logits_of(model).tolist() == [[0, 1, 3, 2]]
    assert not notes


@pytest.mark.parametrize(
    ("names", "classes", "said"),
    [
        (("airplane", "automobile"), ("plane", "car"), r"net has no output.*class_map.*head=probe"),
        (("a", "b", "c"), ("1", "2", "3"), r"no output for class '1', '2', '3'"),
        (10, ("cat", "dog"), "net has 10 outputs, the data set 2 classes"),
    ],
)
def test_own_refuses_before_work(names, classes, said):
    with pytest.raises(ValueError, match=said):
        own.check(network(names), asked(classes)[0])


def test_imagenet_outputs_meet_by_synset_in_any_order():
    logits = jax.random.normal(jax.random.key(0), (2, 1000))
    context, notes = asked(("cat", "dog"), (("n02123394",), ("n02099712", "n02099601")))
    straight, _, facts = imagenet.attach(network(WNIDS, logits), {}, context)
    turned, _, other = imagenet.attach(network(WNIDS[::-1], logits[:, ::-1]), {}, context)
    np.testing.assert_allclose(logits_of(straight), logits_of(turned), rtol=1e-6)
    assert facts == {"head": "imagenet (3 synsets)"} != other
    assert "cat n02123394, dog n02099712 n02099601" in notes[0]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (tuple(f"thing {i}" for i in range(1000)), "named otherwise than ImageNet's"),
        ((*WNIDS[:-1], "n99999999"), "named otherwise"),
        (21, "21 outputs, head 'imagenet' needs ImageNet's 1000"),
    ],
)
def test_imagenet_refuses_other_outputs(names, said):
    with pytest.raises(ValueError, match=said):
        imagenet.check(network(names), asked(("cat",), (("n02123394",),))[0])


def test_imagenets_usual_names_are_known_by_their_order():
    names = {0: "tench, Tinca tinca", 1: "goldfish", 388: "giant panda", 999: "toilet tissue"}
    usual = tuple(names.get(i, f"thing {i}") for i in range(1000))
    context, notes = asked(("n02123394",), (("n02123394",),))
    assert imagenet.check(network(usual), context).argmax(1).tolist() == [283]
    assert not notes
    imagenet.check(network(1000), context)
    assert "taken to be ImageNet's in the order of the synsets" in notes[0]


def test_all_kinds_below_a_class():
    study = (("n01531178", "n01532829"), ("n03796401", "n04467665"))
    counts = {}
    for kind in ("auto", "study", "below"):
        context, notes = asked(("bird", "truck"), study, members=kind)
        counts[kind] = imagenet.check(network(WNIDS), context).sum(1).tolist()
        assert len(notes) == 1
    assert counts == {"auto": [2, 2], "study": [2, 2], "below": [59, 7]}
    context, notes = asked(("bird", "truck"))  # a data set without synsets
    assert imagenet.check(network(WNIDS), context).sum(1).tolist() == [59, 7]
    assert "all ImageNet classes below it, 66 of 1000" in notes[0]


def test_every_set_below_holds_the_studys_and_no_two_share_one():
    from rival_jax.data.rival10 import SYNSETS

    classes = tuple(SYNSETS)
    study = imagenet.membership(asked(classes, tuple(SYNSETS.values()))[0])
    below = imagenet.membership(asked(classes, members="below")[0])
    assert (below >= study).all()
    assert below.sum(0).max() == 1


@pytest.mark.parametrize(
    ("classes", "members", "said"),
    [
        (("bird", "chair"), "below", r"known by name: truck, .*config.probe.synsets"),
        (("bird",), "study", "does not say which ImageNet synsets"),
        (("bird",), "studies", "config.probe.members: no 'studies'; did you mean 'study'"),
    ],
)
def test_unknown_sets_are_refused(classes, members, said):
    with pytest.raises(ValueError, match=said):
        imagenet.check(network(WNIDS), asked(classes, members=members)[0])


def test_the_writer_puts_names_where_timm_reads_them(tmp_path):
    weights.write_folder(tmp_path, {"a": np.zeros(1)}, weights.Config(class_names=("x", "y")))
    assert json.loads((tmp_path / "config.json").read_text())["label_names"] == ["x", "y"]


def test_all_outputs_are_those_of_the_classes_and_then_the_others():
    """Head full: what wins among all 1000; photos of one class have no right answer."""
    classes, wide = ("goldfish", "tench"), network(1000)
    context, notes = asked(classes, (("n01443537",), ("n01440764",)))
    made, _, facts = full.attach(wide, {}, context)
    assert logits_of(made)[0, :4].tolist() == [1, 0, 2, 3]
    assert made.class_names[:3] == (*classes, "n01484850")
    assert facts["head"] == "all 1000 outputs"
    assert "1000 outputs are taken to be ImageNet's" in notes[0]
    loaded = SimpleNamespace(model=made)
    assert inspect.unwrap(rows.outputs)(loaded, list(classes)) == list(made.class_names)
    same, _, facts = full.attach(wide, {}, asked(("object",))[0])
    assert same.forward is wide.forward
    assert len(same.class_names) == 1000
    with pytest.raises(ValueError, match=r"class 'goldfish' is 2 of net's outputs.*head=imagenet"):
        full.check(wide, asked(classes, (("n01443537", "n01440764"), ("n01484850",)))[0])
    with pytest.raises(ValueError, match=r"net has 5 outputs, which head 'full' .*head=probe"):
        full.check(network(5), asked(classes)[0])
