"""The table of published networks: every line is well formed, and says what its publisher says."""

from __future__ import annotations

import collections
import io
import json
import re

import pytest
from rich.console import Console

from rival_jax.experiments import models as experiment
from rival_jax.models import vit_names
from rival_jax.runtime.results import Run
from rival_jax.weights import catalogue, download
from rival_jax.weights.catalogue import Entry, entries, find, nearest
from rival_jax.weights.hub_folder import INTERPOLATIONS
from tests.helpers import config_of

ENTRIES = {entry.name: entry for entry in entries()}
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
# What the study calls them: family, what the file's name begins with, mean and std, interpolation.
RIVAL10 = {
    **{f"resnet{n}": ("resnet", f"resnet{n}-", IMAGENET, "bilinear") for n in (18, 50, 101, 152)},
    **{
        f"robust_resnet{n}{suffix}": ("resnet", f"resnet{n}_l2_eps{e}.", IMAGENET, "bilinear")
        for n in (18, 50)
        for suffix, e in (("", 3), ("_eps1", 1))
    },
    **dict.fromkeys(
        ("vit_tiny", "vit_small", "vit_base", "vit_small32", "vit_base32"),
        ("vit", "model.safetensors", HALF, "bicubic"),
    ),
    **dict.fromkeys(
        ("deit_tiny", "deit_small", "deit_base"), ("vit", "model.safetensors", IMAGENET, "bicubic")
    ),
    "simclr": ("resnet", "simclr_imagenet.ckpt", IMAGENET, "bilinear"),
    "clip_RN50": ("clip_resnet", "RN50.pt", CLIP, "bicubic"),
    "clip_RN101": ("clip_resnet", "RN101.pt", CLIP, "bicubic"),
    "clip_ViT-B16": ("clip_vit", "ViT-B-16.pt", CLIP, "bicubic"),
    "clip_ViT-B32": ("clip_vit", "ViT-B-32.pt", CLIP, "bicubic"),
}
WIDTHS = {"tiny": 192, "small": 384, "medium": 512, "base": 768, "large": 1024, "huge": 1280}
ROBUSTVIT = {
    "ViT-B": "vit_base_patch16_224.orig_in21k_ft_in1k",
    "ViT-L": "vitjx/jx_vit_large_p16_224-4ee7a4dc",
    "AR-S": "vit_small_patch16_224.augreg_in21k_ft_in1k",
    "AR-B": "vit_base_patch16_224.augreg_in21k_ft_in1k",
    "AR-L": "vit_large_patch16_224.augreg_in21k_ft_in1k",
    "DeiT-S": "deit_small_patch16_224.fb_in1k",
    "DeiT-B": "deit_base_patch16_224.fb_in1k",
}


@pytest.mark.parametrize("entry", entries(), ids=list(ENTRIES))
def test_every_line_is_well_formed(entry):
    assert entry.family in catalogue.FAMILIES
    assert entry.study
    assert set(entry.study) <= set(catalogue.STUDIES)
    assert entry.licence in ("apache-2.0", "bsd-3-clause", "mit", "cc-by-nc-4.0")
    assert re.fullmatch("([0-9a-f]{8}|[0-9a-f]{64})?", entry.sha256)
    assert not re.search(r"\s", entry.name + entry.source + entry.file)
    assert entry.file.endswith(catalogue.SUFFIXES)
    assert not set(entry.folder) & set('<>:"\\|?*'), "folders of every operating system"
    if entry.repository:
        assert re.fullmatch(r"[\w-]+/[\w.-]+", entry.repository)
        assert entry.name == entry.repository or entry.repository.startswith("madrylab/")
    else:
        assert re.fullmatch(rf"https://[\w.-]+/.*{re.escape(entry.file)}", entry.source)


@pytest.mark.parametrize("entry", entries(), ids=list(ENTRIES))
def test_every_input_is_possible(entry):
    config = entry.config
    assert config.image_size[0] == config.image_size[1] >= 224
    assert (config.mean, config.std) in (IMAGENET, HALF, CLIP, ((0.0,) * 3, (1.0,) * 3))
    assert config.interpolation in INTERPOLATIONS[1:3]
    assert 0.8 < config.crop_pct <= 1
    assert config.num_classes in (0, 1000, 21843)
    patch = re.search(r"patch(\d+)", config.architecture)
    assert bool(patch) == (entry.family in ("vit", "clip_vit"))
    assert config.image_size[0] % int(patch[1] if patch else 32) == 0
    assert (entry.family == "clip_vit") == ("act_layer" in config.model_args)
    quick = config.model_args.get("act_layer") == "quick_gelu"
    assert quick == ("quickgelu" in config.architecture)


@pytest.mark.parametrize("entry", entries(), ids=list(ENTRIES))
def test_the_number_of_heads_is_never_guessed(entry, caplog):
    if entry.family == "vit":
        width = WIDTHS[entry.config.architecture.split("_")[1]]
        heads = vit_names.heads(entry.config, width)
        assert width // heads == (80 if width == 1280 else 64)
        assert not caplog.records


def test_a_hash_that_is_part_of_the_file_name_or_address_is_the_one_in_the_table():
    for entry in entries():
        short = re.search(r"-([0-9a-f]{8})\.pth$", entry.file)
        assert entry.sha256[:8] == (short[1] if short else entry.sha256[:8])
        if "openaipublic" in entry.source:
            assert entry.source.split("/")[-2] == entry.sha256
    known = collections.Counter(entry.source.split("/")[2] for entry in entries() if entry.sha256)
    assert known["download.pytorch.org"] == known["openaipublic.azureedge.net"] == 8
    assert known["dl.fbaipublicfiles.com"] == 8


def test_names_and_aliases_are_unique():
    keys = collections.Counter(
        catalogue._key(name) for entry in entries() for name in set(catalogue.names(entry))
    )
    assert [key for key, count in keys.items() if count > 1] == []
    assert len(ENTRIES) == len(entries())
    folders = collections.Counter(entry.folder.casefold() for entry in entries())
    assert max(folders.values()) == 1


def test_the_same_weights_are_in_the_table_once_each_time_they_are_said_to_be():
    for entry in entries():
        if same := re.match(r"the same weights as ([^ ,;]+)", entry.notes):
            other = ENTRIES[same[1]].config
            assert other.num_classes == entry.config.num_classes
            assert other.architecture == entry.config.architecture
            assert (other.mean, other.image_size) == (entry.config.mean, entry.config.image_size)


def test_the_study_of_rival10():
    assert len(RIVAL10) == 21
    found = {name: find(name) for name in RIVAL10}
    assert {e.name for e in found.values()} == {e.name for e in entries() if "rival10" in e.study}
    for name, (family, file, normalisation, interpolation) in RIVAL10.items():
        entry = found[name]
        assert entry.family == family, name
        assert entry.file.startswith(file), name
        assert (entry.config.mean, entry.config.std) == normalisation, name
        assert entry.config.interpolation == interpolation, name
        assert entry.config.image_size == (224, 224), name
        headless = name.startswith(("clip", "simclr"))
        assert entry.config.num_classes == (0 if headless else 1000), name
    for name, patch in (("vit_small", 16), ("vit_base", 16), ("vit_small32", 32)):
        assert f"patch{patch}_224.augreg_in21k_ft_in1k" in found[name].name
    augreg = "augreg/S_16-i21k-300ep-lr_0.001-aug_light1-wd_0.03-do_0.0-sd_0.0--imagenet2012"
    assert find(f"{augreg}-steps_20k-lr_0.03-res_224.npz").notes.endswith(found["vit_small"].name)


def test_the_seven_of_robustvit_and_the_four_of_tokencut():
    assert {find(name).name for name in ROBUSTVIT} == {
        entry.name for entry in entries() if "robustvit" in entry.study
    }
    for name, full in ROBUSTVIT.items():
        assert find(name) == find(full)
        assert find(name).config.mean == (IMAGENET if "DeiT" in name else HALF)[0]
    tokencut = [entry for entry in entries() if "tokencut" in entry.study]
    assert tokencut == [find(f"dino/{name}") for name in ("vits16", "vits8", "vitb16", "vitb8")]


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("timm/vit_base_patch16_224.augreg_in21k_ft_in1k", ""),
        ("vit_base_patch16_224.augreg_in21k_ft_in1k", "timm/"),
        ("hf-hub:timm/resnet50.a1_in1k", "timm/resnet50.a1_in1k"),
        ("https://huggingface.co/timm/resnet50.a1_in1k", "timm/resnet50.a1_in1k"),
        ("torchvision/resnet50.IMAGENET1K_V1", ""),
        ("torchvision/RESNET50.imagenet1k_v1", "torchvision/resnet50.IMAGENET1K_V1"),
        ("https://download.pytorch.org/models/resnet50-11ad3fa6.pth", "V2"),
        ("openai/clip-vit-base-patch16", ""),
        ("ViT-B-32/laion2b_s34b_b79k", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"),
        ("open_clip/ViT-B-16-quickgelu/openai", "openai/clip-vit-base-patch16"),
        ("madrylab/resnet50_l2_eps3", ""),
        ("big_vision/howto-i21k-B/16", "augreg/B_16-i21k-300ep"),
        (
            "gs://vit_models/augreg/B_8-i21k-300ep-lr_0.001-aug_medium2-wd_0.1-do_0.0-sd_0.0.npz",
            "augreg/B_8-i21k-300ep",
        ),
        ("deit/deit_small_patch16_224-cd65a155", ".pth"),
        ("dino/dino_vitbase8_pretrain.pth", ""),
    ],
)
def test_every_spelling_finds_its_network(name, canonical):
    assert canonical in find(name).name
    assert find(name).name in ENTRIES


def test_other_repositories_are_taken_at_their_word():
    entry = find("mylab/our_vit.v2")
    assert entry == Entry(
        name="mylab/our_vit.v2", source="hf:mylab/our_vit.v2", file="model.safetensors"
    )
    assert entry.files == ("model.safetensors", "config.json")
    assert entry.address("config.json") == (
        "https://huggingface.co/mylab/our_vit.v2/resolve/main/config.json"
    )
    assert find("timm/vit_base_patch16_rpn_224.sw_in1k").repository.startswith("timm/")


@pytest.mark.parametrize(
    "name", ["", "resnet51", "torchvision/resnet51", "augreg/x.npz", "a/b/c", "../x", "a b/c"]
)
def test_what_is_no_name_is_not_found(name):
    assert find(name) is None


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("resnt50", "resnet50"),
        ("deit_smal", "deit_small"),
        ("robust-resnet50", "robust_resnet50"),
        ("clip_vitb16", "clip_ViT-B16"),
        ("vit_base_patch16_224", "timm/vit_base_patch16_224.augreg_in21k_ft_in1k"),
        ("timm/vit_bse_patch16_224.dino", "timm/vit_base_patch16_224.dino"),
        ("torchvision/resnet50", "torchvision/resnet50.IMAGENET1K_V1"),
    ],
)
def test_near_names(typed, meant):
    assert nearest(typed)[0] == meant
    assert len({find(name).name for name in nearest(typed)}) == 3
    if find(typed) is None:
        with pytest.raises(ValueError, match=rf"{typed!r} \(did you mean {meant!r} or .*listed by"):
            download.named(typed)


def test_nothing_is_near_to_nonsense():
    assert nearest("qqqq") == []
    with pytest.raises(ValueError, match=r"no published model 'qqqq'\. There are those listed by"):
        download.named("qqqq")


def test_a_broken_line_is_named(tmp_path, monkeypatch):
    text = catalogue._TABLE.read_text().splitlines()
    text[2] = text[2].replace("224x224", "224")
    (tmp_path / "t.csv").write_text("\n".join(text))
    monkeypatch.setattr(catalogue, "_TABLE", tmp_path / "t.csv")
    with pytest.raises(ValueError, match=r"t\.csv, line 3: "):
        entries.__wrapped__()


def console() -> Console:
    return Console(file=io.StringIO(), soft_wrap=True, width=80)


def ran(tmp_path, monkeypatch, dry: bool = False, **settings) -> tuple[str, dict]:
    """What the experiment prints and returns; with one network in the cache, and no network."""
    monkeypatch.setenv("RIVAL_JAX_OFFLINE", "1")
    config = config_of("models")
    config.cache = str(tmp_path)
    for name, value in settings.items():
        config[name] = value
    out = console()
    if dry:
        experiment.dry_run(config, out)
        return out.file.getvalue(), {}
    summary = experiment.run(config, Run(tmp_path / "run", config.to_dict()), out)
    return out.file.getvalue(), json.loads(json.dumps(summary))


def test_the_table_is_printed_whole(tmp_path, monkeypatch):
    folder = tmp_path / "models" / find("vit_tiny").folder
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(2_600_000))
    text, summary = ran(tmp_path, monkeypatch)
    assert len(summary["models"]) == len(ENTRIES)
    rows = {line.split(" = ")[0].split()[-1]: line for line in text.splitlines()}
    assert set(ENTRIES) <= set(rows)
    tiny = rows["timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"]
    assert re.split("  +", tiny)[:-1] == (
        ["vit", "rival10", "huggingface.co", "apache-2.0", "224 bicubic 0.9", "3 MB"]
    )
    assert "1 of them here (3 MB)" in text


def test_filters(tmp_path, monkeypatch):
    _, summary = ran(tmp_path, monkeypatch, study="rival10", match="VIT")
    assert len(summary["models"]) == 7
    _, summary = ran(tmp_path, monkeypatch, match="eps3")
    assert {row["licence"] for row in summary["models"]} == {"mit"}
    with pytest.raises(ValueError, match=r"config.study: no 'rival1'; did you mean 'rival10'"):
        ran(tmp_path, monkeypatch, study="rival1")
    with pytest.raises(ValueError, match=r"no name of tokencut has 'resnt50' in it; did you mean "):
        ran(tmp_path, monkeypatch, study="tokencut", match="resnt50")


def test_fetching_what_is_listed(tmp_path, monkeypatch):
    for entry in (find("dino/vits8"), find("dino/vits16")):
        path = tmp_path / "lab" / entry.folder / entry.file
        path.parent.mkdir(parents=True)
        path.write_bytes(entry.name.encode())
    monkeypatch.setenv("RIVAL_JAX_MIRROR", str(tmp_path / "lab"))
    listed = {"study": "tokencut", "match": "small"}
    text, _ = ran(tmp_path / "c", monkeypatch, dry=True, fetch=("all", "dino/vits8"), **listed)
    assert "2 of 2 to fetch; nothing was fetched" in text
    assert not (tmp_path / "c").exists()
    with pytest.raises(FileNotFoundError, match="switched off"):
        ran(tmp_path / "c", monkeypatch, fetch=("all",), **listed)
    monkeypatch.setattr(download, "_offline", lambda: False)
    text, summary = ran(tmp_path / "c", monkeypatch, fetch=("all",), **listed)
    assert [row["bytes"] > 0 for row in summary["models"]] == [True, True]
    assert text.count(" is here: ") == 2
    with pytest.raises(ValueError, match="no published model 'resnt50'"):
        ran(tmp_path / "c", monkeypatch, fetch=("resnet50", "resnt50"))
    assert not (tmp_path / "c/models/torchvision").exists(), "nothing before all names are known"
