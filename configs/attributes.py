"""Which parts of the object a classifier needs: each attribute greyed, against its size, swapped.

  python -m rival_jax.main --config=configs/attributes.py                  the demo, bundled data
  python -m rival_jax.main --config=configs/attributes.py:clean \
      --config.models="('path/to/model',)" --config.data.root=path/to/RIVAL10

Presets: none (demo), clean, paper, released.
"""

import ml_collections

PRESETS = ("", "clean", "paper", "released")
# Those that the study's supplement shows.
FIRST_ELEVEN = (
    *("long-snout", "wings", "wheels", "text", "horns", "floppy-ears", "ears", "colored-eyes"),
    *("tail", "mane", "beak"),
)


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    if preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; there are: {', '.join(filter(None, PRESETS))}")
    c = ml_collections.ConfigDict()
    c.experiment = "attributes"
    c.preset = preset or "demo"
    # Bundled names, folders with config.json and model.safetensors, or .safetensors files.
    c.models = ("scenes/vit_00", "scenes/vit_95")
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
    c.data.name = "scenes"  # "scenes" | "rival10" | "tfds": those with attribute masks
    c.data.root = ""
    c.data.split = "test"
    c.data.train_split = "train"  # of figure 3, of the attributes' classifier, and of head="probe"
    c.data.on_bad = "error"  # "error" | "skip": what to do about unusable examples
    c.data.mask = "soft"  # "soft": as resized | "binary": above 1/2
    c.data.resize = "squash"  # "squash": whole photo | "crop": the model's own short side and crop
    c.data.scenes = ml_collections.ConfigDict({"per_class": 6, "background_correlation": 0.0})
    # attribute_masks: "clean" | "released" (only channels of 255 count, bicubic)
    c.data.rival10 = ml_collections.ConfigDict({"variant": "ordinary", "attribute_masks": "clean"})
    c.data.tfds = ml_collections.ConfigDict(
        {"name": "rival10", "image": "image", "label": "label", "mask": "object_mask"}
        | {"mask_format": "grey", "mask_values": (), "ignore": (), "void": "background"}
        | {"file_name": "file_name"}
    )
    c.data.tfds.alpha_colour = "white"  # behind transparent pixels; "drop": what is stored there
    c.data.tfds.max_pixels = 178_956_970  # a picture that has more is refused

    c.ablation = ml_collections.ConfigDict()
    c.ablation.attributes = ()  # () is all that some image has
    c.ablation.grey = 0.5
    c.ablation.background = "kept"  # "kept" | "black": the object alone (in the released code too)
    c.ablation.draws = 9  # random regions of equal area in the same object
    c.ablation.pooling = "classes"  # "classes": mean of class means | "images": all alike

    c.probe = ml_collections.ConfigDict()
    c.probe.recipe = "converged"  # "converged" (L-BFGS) | "study" (Adam 1e-5, random crops)
    c.probe.region = "all"  # "all" | "foreground": fitted on photos with a grey background
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

    if not preset:
        c.ablation.draws = 3
        c.statistics.resamples = 1000
    else:  # a study on one's own data: name it and the models
        c.data.name = "rival10"
        c.head = "probe"
    if preset == "clean":
        c.data.mask = "binary"
    if preset in ("paper", "released"):
        c.normalise = "none"
        c.probe.recipe = "study"
        c.ablation.attributes = FIRST_ELEVEN
        c.ablation.pooling = "images"
    if preset == "paper":
        c.data.mask = "binary"
    if preset == "released":
        c.data.rival10.attribute_masks = "released"
        c.probe.select = "test"
        c.probe.batch_norm = "drifting"
    return c
