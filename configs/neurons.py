"""Which neuron stands for which attribute, and does it on new images (RIVAL10 study, section 6).

  python -m rival_jax.main --config=configs/neurons.py                     the demo, bundled data
  python -m rival_jax.main --config=configs/neurons.py:clean --config.models="('path/to/model',)" \
      --config.data.name=rival10 --config.data.root=path/to/RIVAL10

Presets: none (demo), clean, paper, released.
"""

import ml_collections

PRESETS = ("", "clean", "paper", "released")


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    if preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; there are: {', '.join(filter(None, PRESETS))}")
    c = ml_collections.ConfigDict()
    c.experiment = "neurons"
    c.preset = preset or "demo"
    # Bundled names, folders with config.json and model.safetensors, or .safetensors files.
    c.models = ("scenes/resnet_00",)
    c.head = "own"  # as in all experiments; features are the same under every head
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
    c.cache = ""  # compiled programs; default ~/.cache/rival_jax

    c.data = ml_collections.ConfigDict()
    c.data.name = "scenes"  # "scenes" | "rival10" | "tfds": those with attribute masks
    c.data.root = ""
    c.data.split = "test"  # held out
    c.data.train_split = "train"  # where features are chosen
    c.data.on_bad = "error"  # "error" | "skip": what to do about unusable examples
    c.data.mask = "soft"  # of the object; not looked at here
    c.data.resize = "squash"  # "squash": whole photo | "crop": the model's own short side and crop
    c.data.scenes = ml_collections.ConfigDict({"per_class": 10, "background_correlation": 0.0})
    c.data.rival10 = ml_collections.ConfigDict({"variant": "ordinary", "attribute_masks": "clean"})
    c.data.tfds = ml_collections.ConfigDict(
        {"name": "rival10", "image": "image", "label": "label", "mask": "object_mask"}
        | {"mask_format": "grey", "mask_values": (), "ignore": (), "void": "background"}
        | {"file_name": "file_name"}
    )
    c.data.tfds.alpha_colour = "white"  # behind transparent pixels; "drop": what is stored there
    c.data.tfds.max_pixels = 178_956_970  # a picture that has more is refused

    c.neurons = ml_collections.ConfigDict()
    c.neurons.top = 10  # images per class that a feature is judged by, the most activating ones
    c.neurons.threshold = 0.5  # of the saliency's range: what counts as salient
    c.neurons.absent = "empty"  # top image without the attribute: "empty": IoU 0 | "left_out"
    c.neurons.least_images = 5  # of a class with an attribute, in each split, to look at the two
    c.neurons.shuffled = 4  # networks with its weights permuted, which are searched likewise
    c.neurons.permutations = 9999  # of masks among images
    c.neurons.permuted_images = 100  # at most, of a class with an attribute
    c.neurons.false_discovery_rate = 0.05
    c.neurons.pictures = 3  # features per model that the report shows

    c.statistics = ml_collections.ConfigDict()
    c.statistics.resamples = 2000
    c.statistics.confidence = 0.95
    c.statistics.method = "bca"  # "bca" | "percentile"

    if preset:  # a study on one's own data: name it and the models
        c.data.name = "rival10"
        c.neurons.shuffled = 20  # enough for a single detector to be found at a rate of 0.05
    if preset in ("paper", "released"):
        c.normalise = "none"
    if preset == "released":  # of the data alone: no code of this experiment was released
        c.data.rival10.attribute_masks = "released"
    return c
