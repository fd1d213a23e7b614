"""Where networks look: saliency maps against object masks, and what the background is worth.

  python -m rival_jax.main --config=configs/saliency.py                      the demo, bundled data
  python -m rival_jax.main --config=configs/saliency.py:clean --config.models="('path/to/model',)" \
      --config.data.name=rival10 --config.data.root=path/to/RIVAL10

Presets: none (demo), clean, paper, released.
"""

import ml_collections

PRESETS = ("", "clean", "paper", "released")


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    if preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; there are: {', '.join(filter(None, PRESETS))}")
    c = ml_collections.ConfigDict()
    c.experiment = "saliency"
    c.preset = preset or "demo"
    # Bundled names, folders with config.json and model.safetensors, or .safetensors files.
    c.models = ("scenes/vit_00", "scenes/vit_95", "scenes/resnet_00", "scenes/resnet_95")
    c.groups = ()  # "name=model,model": averaged in figure 9
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
    c.seed = 0  # of the random regions
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
    c.data.mask = "binary"  # "binary": above 1/2 | "soft": above 0, as released
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

    c.saliency = ml_collections.ConfigDict()
    # Modules of rival_jax/saliency, or dotted names; after an @ the tap that class maps read. At
    # 64 pixels the ResNets' last layer is a grid of 2 x 2, which no map of it can outgrow.
    c.saliency.methods = ("relevance", "hirescam@layer2")
    c.saliency.unfit = "skip"  # methods that a network does not allow: "error" | "skip"
    c.saliency.target = "predicted"  # what is explained: "predicted" class | "label"
    c.saliency.scaling = "minmax"  # "minmax" | "cam", "cam_2021": as two releases of grad-cam
    c.saliency.threshold = 0.5  # of the map's maximum: where it is binarised
    c.saliency.ties = "outside"  # values at the threshold: "outside" | "inside", as released
    c.saliency.flat = "nan"  # a flat map's metrics: "nan", left out | "zero": an empty map's
    c.saliency.tolerance = 0  # of the pointing game, in pixels
    c.saliency.classes = "true"  # what images are filed under: "true" | "predicted" class
    c.saliency.hits = 2  # images of each class with the lowest density gap
    c.saliency.draws = 4  # random regions greyed in each image

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
        c.saliency.methods = ("gradcam",)
        c.saliency.unfit = "error"
        c.saliency.hits = 5
        c.saliency.draws = 10
    if preset in ("paper", "released"):
        c.normalise = "none"
        c.probe.recipe = "study"
        c.saliency.scaling = "cam"
    if preset == "released":
        c.data.mask = "soft"
        c.probe.select = "test"
        c.probe.batch_norm = "drifting"
        c.saliency.scaling = "cam_2021"
        c.saliency.ties = "inside"
        c.saliency.flat = "zero"
        c.saliency.classes = "predicted"
    return c
