"""Masks for photos that have none: normalised cuts of a ViT's keys, refined at the photo's edges.

  python -m rival_jax.main --config=configs/tokencut.py                    the demo, bundled data
  python -m rival_jax.main --config=configs/tokencut.py:clean --config.models="('dino/vitb16',)" \
      --config.data.root=path/to/imagenet --config.data.split=train --config.tokencut.per_class=3

The masks and photos lie in WORKDIR/masks/MODEL/SPLIT; any experiment reads them with
--config.data.name=masked_folder --config.data.root=WORKDIR/masks/MODEL.

Presets: none (demo), clean, paper, released.
"""

import ml_collections

PRESETS = ("", "clean", "paper", "released")


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    if preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; there are: {', '.join(filter(None, PRESETS))}")
    c = ml_collections.ConfigDict()
    c.experiment = "tokencut"
    c.preset = preset or "demo"
    # Bundled names, folders with config.json and model.safetensors, or .safetensors files. Those of
    # DINO are what the method is made for: dino/vits16, dino/vitb16, ...
    c.models = ("scenes/vit_00",)
    c.preprocessing = ml_collections.ConfigDict()  # in place of what each checkpoint says
    c.preprocessing.mean = ()  # of each channel, for pixels in [0, 1]; (): the checkpoint's
    c.preprocessing.std = ()
    c.preprocessing.interpolation = ""  # "nearest" | "bilinear" | "bicubic" | "lanczos"
    c.preprocessing.crop_pct = 0.0  # of the short side; 0: the checkpoint's
    c.preprocessing.num_heads = 0  # of a transformer whose checkpoint does not say; 0: it does
    c.dtype = "float32"  # of the network; "float32" | "bfloat16"
    c.seed = 0  # of the photos that are shown
    c.batch_size = ml_collections.config_dict.placeholder(object)
    c.batch_size = "auto"  # or images per step; "auto" fills the memory budget
    c.output = ""  # folder of the masks; default WORKDIR/masks

    c.data = ml_collections.ConfigDict()
    c.data.name = "scenes"  # "image_folder": photos alone | "scenes" | "rival10" | "masked_folder"
    c.data.root = ""
    c.data.split = "train"
    c.data.on_bad = "error"  # "error" | "skip": what to do about unreadable photos
    c.data.scenes = ml_collections.ConfigDict({"per_class": 40, "background_correlation": 0.95})
    c.data.rival10 = ml_collections.ConfigDict({"variant": "ordinary"})
    c.data.masked_folder = ml_collections.ConfigDict(
        {"mask_format": "auto", "mask_values": (), "ignore": (), "void": "background"}
        | {"class_map": "", "manifest": "", "exif": "fit"}
    )
    c.data.image_folder = ml_collections.ConfigDict({"exif": "photo"})
    c.data.tfds = ml_collections.ConfigDict(
        {"name": "rival10", "image": "image", "label": "label", "mask": "object_mask"}
        | {"mask_format": "grey", "mask_values": (), "ignore": (), "void": "background"}
        | {"file_name": "file_name"}
    )
    for files in (c.data.masked_folder, c.data.tfds, c.data.image_folder):
        files.alpha_colour = "white"  # behind transparent pixels; "drop": what is stored there
        files.max_pixels = 178_956_970  # a picture that has more is refused

    c.tokencut = ml_collections.ConfigDict()
    c.tokencut.feature = "key"  # "key" | "query" | "value" of the tokens
    # Whose: "auto", or a number (-1: the last), which is taken as it is. "auto" is the last block
    # of a network without classes (DINO), as published, and one after the middle of a classifier.
    c.tokencut.block = ml_collections.config_dict.placeholder(object)
    c.tokencut.block = "auto"
    c.tokencut.tau = 0.1  # least cosine of an edge; picked on true masks of drawn scenes
    c.tokencut.graph = "binary"  # edges weigh 1 | "weighted": their cosine
    c.tokencut.precision = "float64"  # of the eigenproblem; "float32" where devices have no other
    c.tokencut.scale = 1.0  # photos are enlarged by this before they are cut into tokens
    c.tokencut.max_tokens = 1600  # larger photos are scaled down; 0: no limit
    c.tokencut.positions = "antialias"  # resampling of position embeddings: "antialias" | "dino"
    c.tokencut.refine = "bilateral"  # "bilateral" | "none"
    c.tokencut.sigmas = (16.0, 16.0, 8.0)  # of the solver: pixels, luma and chroma of 255
    c.tokencut.choice = "largest"  # object of the solver's output: "largest" | "released"
    c.tokencut.agreement = 0.3  # least IoU of that object and the cut; else the cut is taken
    c.tokencut.min_pixels = 1  # smaller masks are skipped
    c.tokencut.min_gap = 1e-6  # photos whose second and third eigenvalue differ by less are, too
    c.tokencut.per_class = 0  # photos of each class, the first ones; 0: all
    c.tokencut.photos = True  # photos are written beside the masks
    c.tokencut.shown = 24  # photos in the report

    c.statistics = ml_collections.ConfigDict()
    c.statistics.resamples = 2000
    c.statistics.confidence = 0.95
    c.statistics.method = "bca"  # "bca" | "percentile"

    if preset:  # photos of one's own: name them
        c.models = ("dino/vitb16",)
        c.data.name = "image_folder"
        c.tokencut.tau = 0.2
        c.tokencut.agreement = 0.5
        c.tokencut.positions = "dino"
    if preset in ("paper", "released"):
        c.tokencut.max_tokens = 0
        c.tokencut.min_gap = -1.0
    if preset == "released":
        c.tokencut.choice = "released"
        c.tokencut.min_pixels = 520
    return c
