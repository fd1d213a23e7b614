"""Linear heads on frozen networks, fitted on a training split and scored on a test split.

  python -m rival_jax.main --config=configs/linear_probe.py                the demo, bundled data
  python -m rival_jax.main --config=configs/linear_probe.py:clean \
      --config.models="('path/to/model',)" --config.data.root=path/to/RIVAL10

Presets: none (demo), clean, paper, released.
"""

import ml_collections

PRESETS = ("", "clean", "paper", "released")


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    if preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; there are: {', '.join(filter(None, PRESETS))}")
    c = ml_collections.ConfigDict()
    c.experiment = "linear_probe"
    c.preset = preset or "demo"
    # Bundled names, folders with config.json and model.safetensors, or .safetensors files.
    c.models = ("scenes/vit_00", "scenes/vit_95")
    c.head = "probe"
    c.normalise = "model"  # "model": with its own mean and std | "none": bare pixels, as released
    c.image_size = 0  # side in pixels; 0: the one that each network was made for
    c.preprocessing = ml_collections.ConfigDict()  # in place of what each checkpoint says
    c.preprocessing.mean = ()  # of each channel, for pixels in [0, 1]; (): the checkpoint's
    c.preprocessing.std = ()
    c.preprocessing.interpolation = ""  # "nearest" | "bilinear" | "bicubic" | "lanczos"
    c.preprocessing.crop_pct = 0.0  # of the short side; 0: the checkpoint's
    c.preprocessing.num_heads = 0  # of a transformer whose checkpoint does not say; 0: it does
    c.dtype = "float32"  # "float32" | "bfloat16"
    c.batch_size = ml_collections.config_dict.placeholder(object)
    c.batch_size = "auto"  # or images per step; "auto" fills the memory budget
    c.cache = ""  # features and heads; default ~/.cache/rival_jax

    c.data = ml_collections.ConfigDict()
    c.data.name = "scenes"  # "scenes" | "rival10" | "masked_folder" | "tfds"
    c.data.root = ""
    c.data.split = "test"
    c.data.train_split = "train"
    c.data.on_bad = "error"  # "error" | "skip": what to do about unusable examples
    c.data.mask = "soft"  # heads look at masks under probe.region="foreground" alone
    c.data.resize = "squash"  # "squash": whole photo | "crop": the model's own short side and crop
    c.data.scenes = ml_collections.ConfigDict({"per_class": 20, "background_correlation": 0.0})
    c.data.rival10 = ml_collections.ConfigDict({"variant": "ordinary"})
    c.data.masked_folder = ml_collections.ConfigDict(
        {"mask_format": "auto", "mask_values": (), "ignore": (), "void": "background"}
        | {"class_map": "", "manifest": "", "exif": "fit"}
    )
    c.data.tfds = ml_collections.ConfigDict(
        {"name": "rival10", "image": "image", "label": "label", "mask": "object_mask"}
        | {"mask_format": "grey", "mask_values": (), "ignore": (), "void": "background"}
        | {"file_name": "file_name"}
    )
    for files in (c.data.masked_folder, c.data.tfds):
        files.alpha_colour = "white"  # behind transparent pixels; "drop": what is stored there
        files.max_pixels = 178_956_970  # a picture that has more is refused

    c.probe = ml_collections.ConfigDict()
    c.probe.recipe = "converged"  # "converged" (L-BFGS) | "study" (Adam 1e-5, random crops)
    c.probe.region = "all"  # "all" | "foreground": fitted on photos with a grey background
    c.probe.batch_norm = "frozen"  # study: or "drifting": statistics move meanwhile, as released
    c.probe.epochs = 10  # study
    c.probe.select = "last"  # study: "last" | "test" (best epoch on the test split, as released)
    c.probe.seed = 0

    c.statistics = ml_collections.ConfigDict()
    c.statistics.resamples = 2000
    c.statistics.confidence = 0.95
    c.statistics.method = "bca"  # "bca" | "percentile"

    if preset:
        c.data.name = "rival10"
    if preset in ("paper", "released"):
        c.normalise = "none"
        c.probe.recipe = "study"
    if preset == "released":
        c.probe.select = "test"
        c.probe.batch_norm = "drifting"
    return c
