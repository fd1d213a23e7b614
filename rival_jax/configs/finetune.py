"""The cure: finetuning a ViT so that its relevance maps sit on the object (RobustViT).

Presets: none (demo), table, clean, paper, released, and released with what was published for one
network: vit_b, vit_l, ar_s, ar_b, ar_l, deit_s, deit_b.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks
from rival_jax.configs.values import BatchSize, Count, Distinct, Inside, Positive, Several


@dataclass(frozen=True)
class Scenes(blocks.Scenes):
    """Drawn scenes, by seed."""

    per_class: int = 30
    seed: int = 0


@dataclass(frozen=True)
class Data(blocks.ObjectData):
    """What is trained on, and the first test set."""

    train_split: str = "train"
    test_name: str = "as trained"  # what tables call the test split
    scenes: Scenes = Scenes()


@dataclass(frozen=True)
class Shifted(blocks.Place):
    """Another test set of the same classes; name "": none."""

    test_name: str = "decorrelated"
    scenes: Scenes = Scenes(background_correlation=0.0)
    rival10: blocks.Rival10 = blocks.Rival10()
    masked_folder: blocks.MaskedFolder = blocks.MaskedFolder()


@dataclass(frozen=True)
class Split:
    """Which classes and images are trained on (set A), and which validate."""

    by: Literal["sorted", "seed"] = "sorted"  # classes by name, or shuffled
    num_classes: Count = 0  # how many are trained on (set A); 0: half of them
    classes: tuple[str, ...] = ()  # or name them
    per_class: Several = 27
    images: Literal["first", "seed"] = "seed"  # of a class, by name or shuffled
    # Other images of the classes trained on, or the other classes.
    validation: Literal["training", "held_out"] = "training"
    validation_per_class: Several = 3
    on_few: Literal["error", "take"] = "error"  # if a class has fewer images


@dataclass(frozen=True)
class Train:
    """How parameters are updated."""

    learning_rate: Positive = 3e-4
    epochs: Several = 12
    batch: Several = 8  # images per update
    trained: str = "attn"  # a regular expression of parameter names; "": all
    weight_decay: float = 1e-4
    decayed: Literal["all", "kernels"] = "all"  # "kernels": not norms and biases
    rate_factor: float = 0.85  # the rate is multiplied by it
    rate_every: Several = 2  # epochs
    accumulate: Several = 1  # parts of a batch that are computed one after another
    dtype: Literal["float32", "bfloat16"] = "float32"  # of the computation
    # "dots": keeps matrix products alone for the backward pass.
    remat: Literal["none", "dots"] = "none"
    augmentation: str = "area"  # crop of 80-100 % | "square": 7/8 of each side | "mirror"
    ties: Literal["later", "earlier"] = "later"  # which of two epochs with equal validation loss
    together: BatchSize = "auto"  # trainings in one program, or their number
    save_seconds: float = 30.0


@dataclass(frozen=True)
class Loss:
    """What is minimised; an objective reads the options it has."""

    # What makes the map, a module of saliency: all of attention's train with robustvit, the others
    # with robustvit_second_order and energy.
    method: str = "relevance"
    explained: str = "label"  # whose map is trained: "label" | "prediction"
    border: str = "complement"  # of soft masks: "complement" | "released" | "rebinarised"
    foreground_target: str = "mask"  # | "one": equation 2 as printed
    temperature: float = 1.0
    background_weight: float = 2.0
    foreground_weight: float = 0.3
    relevance_weight: float = 0.8
    classification_weight: float = 0.2


@dataclass(frozen=True)
class Energy:
    """Other defaults for the objective energy."""

    method: str = "gradient_x_input"
    relevance_weight: float = 4.0
    classification_weight: float = 0.2


@dataclass(frozen=True)
class EnergySwap:
    """Other defaults for the objective energy_swap."""

    method: str = "gradient_x_input"
    relevance_weight: float = 8.0
    kept_weight: float = 1.0
    swapped_weight: float = 1.0


@dataclass(frozen=True)
class Weight:
    """Other defaults for the objectives gradmask and rrr."""

    relevance_weight: float = 0.8


@dataclass(frozen=True)
class Evaluate:
    """Which networks are tested, and how."""

    checkpoint: Literal["best", "last"] = "best"
    # WiSE-FT: shares of the finetuned weights, beside 1.
    alphas: Annotated[tuple[Inside, ...], Distinct(0)] = (0.5,)
    method: str = "relevance"
    explained: Literal["predicted", "label"] = "predicted"  # class whose maps are compared


@dataclass(frozen=True)
class Config(blocks.Measuring, blocks.Open):
    """All keys; their defaults are the demo."""

    experiment: str = "finetune"
    models: blocks.Models = ("scenes/vit_00_95",)  # one
    # Besides: original, cross_entropy, energy, robustvit, gradmask, gradmask_released, rrr,
    # rrr_released, robustvit_second_order, the rows of table 4 (below), tokencut,
    # energy_swap_tokencut, masktune, swapped, last_layer, or a dotted module.
    variants: tuple[str, ...] = ("energy_swap",)
    # For each variant: "" as below, or "background_weight=4 learning_rate=1e-3".
    settings: tuple[str, ...] = ("",)
    # They decide the order, the crops and, by `split`, images and classes.
    seeds: Annotated[tuple[int, ...], Distinct()] = (0,)
    head: str = "own"  # "own" | "imagenet" (no training)
    outputs: Literal["own", "head"] = "own"  # which are trained: the network's, or the head's
    dtype: Literal["float32"] = "float32"  # of the weights; train.dtype is the computation's
    seed: int = 0  # of the noise that RFS is measured with
    batch_size: BatchSize = "auto"  # of the tests; or images per step
    # Of parameters and moments; "fsdp": cut among the devices.
    sharding: Literal["replicated", "fsdp"] = "replicated"
    probe: blocks.Synsets = blocks.Synsets()
    data: Data = Data()
    shifted: Shifted = Shifted()
    # For the variants of that name: photos with found masks.
    tokencut: blocks.Place = blocks.Place(name="masked_folder", split="train")
    split: Split = Split()
    train: Train = Train()
    loss: Loss = Loss()
    # Other defaults for an objective, also its own learning_rate.
    energy: Energy = Energy()
    energy_swap: EnergySwap = EnergySwap()
    gradmask: Weight = Weight()
    rrr: Weight = Weight()
    evaluate: Evaluate = Evaluate()
    noise: blocks.Noise = blocks.Noise(
        sigmas=tuple(s / 255 for s in (60, 120, 180)), epsilons=(50.0, 100.0, 150.0), trials=2
    )


PUBLISHED = {  # network: where it is, learning rate, temperature
    "vit_b": ("timm/vit_base_patch16_224.orig_in21k_ft_in1k", 3e-6, 1.0),
    "vit_l": ("vitjx/jx_vit_large_p16_224-4ee7a4dc.pth", 9e-7, 1.0),
    "ar_s": ("timm/vit_small_patch16_224.augreg_in21k_ft_in1k", 2e-6, 1.0),
    "ar_b": ("timm/vit_base_patch16_224.augreg_in21k_ft_in1k", 6e-7, 1.0),
    "ar_l": ("timm/vit_large_patch16_224.augreg_in21k_ft_in1k", 9e-7, 1.0),
    "deit_s": ("timm/deit_small_patch16_224.fb_in1k", 1e-6, 0.55),
    "deit_b": ("timm/deit_base_patch16_224.fb_in1k", 8e-7, 0.65),
}
ABLATIONS = (  # the rows of table 4
    *("without_classification", "without_background", "without_foreground", "with_label"),
    *("only_background", "only_foreground"),
)
LONG = {"data.scenes.per_class": 100, "shifted.scenes.per_class": 100}
TABLE = {
    **LONG,
    "variants": (
        *("original", "cross_entropy", "gradmask", "gradmask_released", "rrr"),
        *("rrr_released", "energy", "energy_swap", "robustvit", "robustvit_second_order"),
        *ABLATIONS,
    ),
    "seeds": (0, 1, 2),
    "gradmask.relevance_weight": 1e5,  # large enough to matter beside the cross-entropy, as for rrr
    "rrr.relevance_weight": 1.0,
    "noise.trials": 1,
    "noise.draws": "shared",  # as when the README's table was made
}
STUDY = {  # on one's own masked photos
    **LONG,
    "models": ("timm/vit_base_patch16_224.augreg_in21k_ft_in1k",),
    "variants": ("robustvit",),
    "head": "imagenet",
    "data.name": "masked_folder",
    "data.split": "validation",
    "data.test_name": "validation",
    "data.resize": "crop",
    "data.masked_folder.mask_format": "imagenet_s",
    "shifted.name": "",
    "split.num_classes": 500,
    "split.per_class": 3,
    "split.validation": "held_out",
    "split.validation_per_class": 1,
    "train.learning_rate": 6e-7,
    "train.epochs": 50,
    "train.trained": "",
    "train.augmentation": "square",
    "noise.trials": 10,
}
SECOND_ORDER = {"variants": ("robustvit_second_order",)}  # the loss's own gradient
RELEASED = {
    **STUDY,
    "split.images": "first",
    "loss.border": "released",
    "gradmask.relevance_weight": 0.8,
    "rrr.relevance_weight": 0.8 * Train().batch,  # the release sums, this takes means
}
PRESETS: Presets = {
    "": {},
    "table": TABLE,
    "clean": {**STUDY, **SECOND_ORDER},
    "paper": {**STUDY, **SECOND_ORDER, "split.images": "first", "loss.foreground_target": "one"},
    "released": RELEASED,
    **{
        network: RELEASED | {"models": (name,), "train.learning_rate": rate, "loss.temperature": t}
        for network, (name, rate, t) in PUBLISHED.items()
    },
}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config, as `preset` has it."""
    return at_preset(Config(), PRESETS, preset)
