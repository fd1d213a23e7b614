"""The blocks that configs share: every key once, with what it may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from rival_jax.configs.sources import HubParquet as HubParquet
from rival_jax.configs.sources import ImageFolder as ImageFolder
from rival_jax.configs.sources import MaskedFolder as MaskedFolder
from rival_jax.configs.sources import Masks as Masks
from rival_jax.configs.sources import Outlined as Outlined
from rival_jax.configs.sources import Pictures as Pictures
from rival_jax.configs.sources import Rival10 as Rival10
from rival_jax.configs.sources import Rival10Attributes as Rival10Attributes
from rival_jax.configs.sources import Scenes as Scenes
from rival_jax.configs.sources import Tfds as Tfds
from rival_jax.configs.values import Amount, BatchSize, Count, Distinct, Inside, Positive, Several

# What the RIVAL10 study did, as presets set it; and its released code.
PAPER = {"normalise": "none", "probe.recipe": "study"}
RELEASED = {**PAPER, "probe.select": "test", "probe.batch_norm": "drifting"}
# What RobustViT's evaluations feed every network, regardless of how it was trained.
ROBUSTVIT = {"preprocessing.mean": (0.5, 0.5, 0.5), "preprocessing.std": (0.5, 0.5, 0.5)}


@dataclass(frozen=True)
class Open:
    """A block that may also hold blocks that users add.

    Such a block holds the options of a data set or an objective outside the package and bears its
    name with "_" for ".": `mylab_cub` for mylab.cub. In a ConfigDict it stands beside the keys;
    here it is in `own`.
    """

    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False, kw_only=True)


@dataclass(frozen=True)
class Preprocessing:
    """What a network is fed, in place of what its checkpoint says."""

    mean: tuple[float, ...] = ()  # of each channel, for pixels in [0, 1]; (): the checkpoint's
    std: tuple[float, ...] = ()
    interpolation: Literal["", "nearest", "bilinear", "bicubic", "lanczos"] = ""
    crop_pct: float = 0.0  # of the short side; 0: the checkpoint's
    num_heads: Count = 0  # of a transformer whose checkpoint does not say; 0: the checkpoint's


@dataclass(frozen=True)
class Place(Open):
    """Which data set, where it is, and which split."""

    name: str = "scenes"
    root: str = ""
    split: str = "test"


@dataclass(frozen=True)
class Photos(Place):
    """A data set of photos, perhaps with masks, and the options of every kind of data set."""

    on_bad: Literal["error", "skip"] = "error"  # what to do about unusable examples
    held_gib: Amount = 4.0  # pixels held by each process; more are decoded again in every pass
    scenes: Scenes = Scenes()
    rival10: Rival10 = Rival10()
    tfds: Tfds = Tfds()


@dataclass(frozen=True)
class Data(Photos):
    """Photos with masks that networks are measured on."""

    name: str = "scenes"  # "scenes" | "rival10" | "tfds"
    train_split: str = "train"  # read by head="probe" alone
    mask: Literal["soft", "binary"] = "soft"  # as resized, or above 1/2
    resize: Literal["squash", "crop"] = "squash"  # whole photo, or the model's own size and crop


@dataclass(frozen=True)
class AttributeData(Data):
    """The data sets with masks of attributes."""

    rival10: Rival10Attributes = Rival10Attributes()


@dataclass(frozen=True)
class ObjectData(Data):
    """The data sets with masks of objects: all."""

    # Or "rival10", "masked_folder", "labelme", "cvat", "yolo", "coco", "voc", "hub_parquet", ...
    name: str = "scenes"
    masked_folder: MaskedFolder = MaskedFolder()
    labelme: Outlined = Outlined()
    cvat: Outlined = Outlined()
    yolo: Outlined = Outlined()
    hub_parquet: HubParquet = HubParquet()


Strengths = Annotated[tuple[Positive, ...], Distinct()]


@dataclass(frozen=True)
class Levels:
    """Levels of noise."""

    norms: Annotated[tuple[Literal["linf", "l2"], ...], Distinct()] = ("linf",)
    sigmas: Strengths = tuple(s / 255 for s in range(30, 211, 30))  # of linf, for pixels in [0, 1]
    epsilons: Strengths = tuple(float(e) for e in range(25, 201, 25))  # of l2, per image and region
    # Regions and networks see the same draws; "shared": all levels do too, as in earlier versions.
    draws: Literal["by_level", "shared"] = "by_level"

    def levels(self, norm: str) -> tuple[float, ...]:
        """The levels of a norm."""
        return self.sigmas if norm == "linf" else self.epsilons

    def every(self) -> list[tuple[str, float]]:
        """Each norm with each of its levels."""
        return [(norm, level) for norm in self.norms for level in self.levels(norm)]


@dataclass(frozen=True)
class Noise(Levels):
    """And how often noise is drawn."""

    trials: Several = 5


@dataclass(frozen=True)
class Fit:
    """How linear heads are fitted."""

    recipe: Literal["converged", "study"] = "converged"  # L-BFGS, or Adam 1e-5 on random crops
    # For "study"; "drifting": statistics move meanwhile, as released.
    batch_norm: Literal["frozen", "drifting"] = "frozen"
    epochs: Several = 10  # for "study"
    select: Literal["last", "test"] = "last"  # for "study": or the best on the test split
    tap: str = ""  # whose values are the features, their mean over positions; "": the network's own
    seed: int = 0


@dataclass(frozen=True)
class RegionFit(Fit):
    """How linear heads are fitted, and on which part of a photo."""

    region: Literal["all", "foreground"] = "all"  # or fitted on photos with a grey background


@dataclass(frozen=True)
class Synsets:
    """Which of ImageNet's outputs are a class, for head="imagenet"."""

    synsets: str = ""  # JSON {class: [wnid, ...]} instead of the data set's
    members: Literal["auto", "study", "below"] = "auto"  # the set's own, or all below RIVAL10's


@dataclass(frozen=True)
class Probe(Fit, Synsets):
    """Options of every head."""


@dataclass(frozen=True)
class Explaining:
    """Which maps, and what they explain."""

    # Modules of rival_jax/saliency, or dotted names; after "@", the tap that class maps read.
    methods: Annotated[tuple[str, ...], Distinct()] = ("relevance",)
    unfit: Literal["error", "skip"] = "skip"  # methods that a network does not allow
    target: Literal["predicted", "label"] = "predicted"  # class that is explained
    scaling: Literal["minmax", "cam", "cam_2021"] = "minmax"  # as two releases of grad-cam


@dataclass(frozen=True)
class Statistics:
    """How intervals are made."""

    resamples: Several = 2000
    confidence: Inside = 0.95
    method: Literal["bca", "percentile"] = "bca"


Models = Annotated[tuple[str, ...], Distinct()]
Sets = Annotated[tuple[str, ...], Distinct()]


@dataclass(frozen=True)
class Networks:
    """What all experiments that run networks have in common."""

    experiment: str
    # Bundled names, folders with config.json and model.safetensors, or .safetensors files.
    models: Models
    preprocessing: Preprocessing = Preprocessing()
    dtype: Literal["float32", "bfloat16"] = "float32"


@dataclass(frozen=True)
class Measuring(Networks):
    """What all experiments on classifiers and photos with masks have in common."""

    preset: str = "demo"
    head: str = "own"  # "own" | "probe" (fitted on data.train_split) | "imagenet" (no training)
    normalise: Literal["model", "none"] = "model"  # its own mean and std, or none, as released
    image_size: Count = 0  # side in pixels; 0: the size each network was made for
    batch_size: BatchSize = "auto"  # or images per step; "auto" fills the memory budget
    cache: str = ""  # features and heads; default ~/.cache/rival_jax
    data: Data = Data()
    statistics: Statistics = Statistics()


@dataclass(frozen=True)
class ObjectNet:
    """ObjectNet's photos, which have a red frame."""

    border: int = 2  # pixels cut off on each side, before anything else


@dataclass(frozen=True)
class SetData(Open):
    """What all sets have in common, and the options of each kind of set."""

    root: str = ""  # folder of the sets that name none
    split: str = "test"
    on_bad: Literal["error", "skip"] = "error"  # what to do about unreadable photos
    scenes: Scenes = Scenes(per_class=20)
    image_folder: ImageFolder = ImageFolder(exif="ignore")
    objectnet: ObjectNet = ObjectNet()


@dataclass(frozen=True)
class Evaluating(Networks):
    """What all experiments on networks and data sets without masks have in common."""

    # "imagenet_a=/data/imagenet-a", perhaps with options of its own, a split, and what tables call
    # it: "imagenet_v2=/data/v2 variant=top-images split=test as='v2 top'".
    sets: Sets = ()
    # Networks to compare, "original=finetuned"; (): finetuned ones with their originals if config
    # finetune made them, else all pairs.
    pairs: tuple[str, ...] = ()
    preset: str = "demo"
    batch_size: BatchSize = "auto"  # or images per step; "auto" fills the memory budget
    shard: Several = 1024  # photos held at once, and computed again after a stop
    data: SetData = SetData()
    statistics: Statistics = Statistics()


@dataclass(frozen=True)
class Changing(Measuring):
    """What all experiments that change photos and score heads on them have in common."""

    seed: int = 0
    # Or "fsdp": weights cut over the devices, for those that one cannot hold.
    sharding: Literal["replicated", "fsdp"] = "replicated"
    probe: Probe = Probe()
