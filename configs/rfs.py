"""Relative foreground sensitivity: accuracy under noise in the object against its background.

  python -m rival_jax.main --config=configs/rfs.py                          the demo, bundled data
  python -m rival_jax.main --config=configs/rfs.py:clean --config.models="('path/to/model',)" \
      --config.data.name=rival10 --config.data.root=path/to/RIVAL10

Presets: none (demo), clean, paper, released.
"""

import ml_collections

PRESETS = ("", "clean", "paper", "released")


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    if preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; there are: {', '.join(filter(None, PRESETS))}")
    c = ml_collections.ConfigDict()
    c.experiment = "rfs"
    c.preset = preset or "demo"
    # Bundled names, folders with config.json and model.safetensors, or .safetensors files.
    c.models = ("scenes/vit_00", "scenes/vit_95", "scenes/resnet_00", "scenes/resnet_95")
    c.head = "own"  # "own" | "probe" (fitted on data.train_split) | "imagenet" (no training)
    c.normalise = "model"  # "model": with its own mean and std | "none": bare pixels, as released
    c.image_size = 0  # side in pixels; 0: the one that each network was made for
    c.preprocessing = ml_collections.ConfigDict()  # in place of what each checkpoint says
    c.preprocessing.mean = ()  # of each channel, for pixels in [0, 1]; (): the checkpoint's
    c.preprocessing.std = ()
    c.preprocessing.interpolation = ""  # "nearest" | "bilinear" | "bicubic" | "lanczos"
    c.preprocessing.crop_pct = 0.0  # of the short side; 0: the checkpoint's
    c.preprocessing.num_heads = 0  # of a transformer whose checkpoint does not say; 0: it does
    c.dtype = "float32"  # "float32" | "bfloat16"
    c.seed = 0
    c.batch_size = ml_collections.config_dict.placeholder(object)
    c.batch_size = "auto"  # or images per step; "auto" fills the memory budget
    c.sharding = "replicated"  # or "fsdp": weights cut over the devices, where one cannot hold them
    c.cache = ""  # features and heads; default ~/.cache/rival_jax

    c.data = ml_collections.ConfigDict()
    c.data.name = "scenes"  # "scenes" | "rival10" | "masked_folder" | "tfds"
    c.data.root = ""
    c.data.split = "test"
    c.data.train_split = "train"  # read by head="probe" alone
    c.data.on_bad = "error"  # "error" | "skip": what to do about unusable examples
    c.data.mask = "soft"  # "soft": as resized | "binary": above 1/2
    c.data.resize = "squash"  # "squash": whole photo | "crop": the model's own short side and crop
    c.data.scenes = ml_collections.ConfigDict({"per_class": 10, "background_correlation": 0.95})
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

    c.noise = ml_collections.ConfigDict()
    c.noise.norms = ("linf",)  # "linf", "l2" (unit norm per image and region)
    c.noise.sigmas = tuple(s / 255 for s in range(30, 211, 30))  # linf, pixels in [0, 1]
    c.noise.epsilons = tuple(float(e) for e in range(25, 201, 25))  # l2
    c.noise.trials = 5
    c.noise.regions = ("foreground", "background")  # and "all"

    c.probe = ml_collections.ConfigDict()
    c.probe.recipe = "converged"  # "converged" (L-BFGS) | "study" (Adam 1e-5, random crops)
    c.probe.batch_norm = "frozen"  # study: or "drifting": statistics move meanwhile, as released
    c.probe.epochs = 10  # study
    c.probe.select = "last"  # study: "last" | "test" (best epoch on the test split, as released)
    c.probe.seed = 0
    c.probe.synsets = ""  # head="imagenet": JSON {class: [wnid, ...]} instead of the data set's
    c.probe.members = "auto"  # or "study": its own synsets | "below": all below RIVAL10's classes

    c.statistics = ml_collections.ConfigDict()
    c.statistics.resamples = 2000
    c.statistics.confidence = 0.95
    c.statistics.method = "bca"  # "bca" | "percentile"

    if preset:  # a study on one's own data: name it and the models
        c.data.name = "rival10"
        c.head = "probe"
        c.noise.norms = ("linf", "l2")
        c.noise.trials = 10
    if preset == "clean":
        c.data.mask = "binary"
    if preset in ("paper", "released"):
        c.normalise = "none"
        c.probe.recipe = "study"
    if preset == "paper":
        c.data.mask = "binary"
    if preset == "released":
        c.noise.sigmas = tuple(s / 255 / 255 for s in range(30, 211, 30))  # divided twice
        c.noise.trials = 1
        c.probe.select = "test"
        c.probe.batch_norm = "drifting"
    return c
