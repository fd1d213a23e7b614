"""The cure: finetuning a ViT so that its relevance maps sit on the object (RobustViT).

  python -m rival_jax.main --config=configs/finetune.py                    the demo, bundled data
  python -m rival_jax.main --config=configs/finetune.py:table              all variants, three seeds
  python -m rival_jax.main --config=configs/finetune.py:vit_b \
      --config.data.root=path/to/ImageNetS919 --config.shifted.name=      ViT-B as published

Presets: none (demo), table, clean, paper, released, and released with what was published for one
network: vit_b, vit_l, ar_s, ar_b, ar_l, deit_s, deit_b.
"""

import ml_collections

PUBLISHED = {  # network: where it is, learning rate, temperature
    "vit_b": ("timm/vit_base_patch16_224.orig_in21k_ft_in1k", 3e-6, 1.0),
    "vit_l": ("vitjx/jx_vit_large_p16_224-4ee7a4dc.pth", 9e-7, 1.0),
    "ar_s": ("timm/vit_small_patch16_224.augreg_in21k_ft_in1k", 2e-6, 1.0),
    "ar_b": ("timm/vit_base_patch16_224.augreg_in21k_ft_in1k", 6e-7, 1.0),
    "ar_l": ("timm/vit_large_patch16_224.augreg_in21k_ft_in1k", 9e-7, 1.0),
    "deit_s": ("timm/deit_small_patch16_224.fb_in1k", 1e-6, 0.55),
    "deit_b": ("timm/deit_base_patch16_224.fb_in1k", 8e-7, 0.65),
}
PRESETS = ("", "table", "clean", "paper", "released", *PUBLISHED)
ABLATIONS = (
    *("without_classification", "without_background", "without_foreground", "with_label"),
    *("only_background", "only_foreground"),
)


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    if preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; there are: {', '.join(filter(None, PRESETS))}")
    c = ml_collections.ConfigDict()
    c.experiment = "finetune"
    c.preset = preset or "demo"
    c.models = ("scenes/vit_00_95",)  # one: a bundled name, a folder, a .safetensors file
    # Besides: original, cross_entropy, energy, robustvit, gradmask, gradmask_released, rrr,
    # rrr_released, robustvit_second_order, the rows of table 4 (above), tokencut,
    # energy_swap_tokencut, or a dotted module.
    c.variants = ("energy_swap",)
    c.settings = ("",)  # of each variant: "" as below, "background_weight=4 learning_rate=1e-3"
    c.seeds = (0,)  # of the order, the crops and, by `split`, the images and classes
    c.head = "own"  # "own" | "imagenet" (no training)
    c.outputs = "own"  # "own": the network's outputs are trained | "head": those of the head
    c.normalise = "model"  # "model": with its own mean and std | "none": bare pixels
    c.image_size = 0  # side in pixels; 0: the one that each network was made for
    c.preprocessing = ml_collections.ConfigDict()  # in place of what each checkpoint says
    c.preprocessing.mean = ()  # of each channel, for pixels in [0, 1]; (): the checkpoint's
    c.preprocessing.std = ()
    c.preprocessing.interpolation = ""  # "nearest" | "bilinear" | "bicubic" | "lanczos"
    c.preprocessing.crop_pct = 0.0  # of the short side; 0: the checkpoint's
    c.preprocessing.num_heads = 0  # of a transformer whose checkpoint does not say; 0: it does
    c.dtype = "float32"
    c.seed = 0  # of the noise that RFS is measured with
    c.batch_size = ml_collections.config_dict.placeholder(object)
    c.batch_size = "auto"  # of the tests; or images per step
    c.sharding = "replicated"  # of parameters and moments | "fsdp": cut among the devices
    c.cache = ""

    c.probe = ml_collections.ConfigDict()  # of head="imagenet"
    c.probe.synsets = ""  # JSON {class: [wnid, ...]} instead of the data set's
    c.probe.members = "auto"  # or "study": its own synsets | "below": all below RIVAL10's classes

    c.data = ml_collections.ConfigDict()
    c.data.name = "scenes"  # "scenes" | "rival10" | "masked_folder" | "tfds"
    c.data.root = ""
    c.data.split = "test"
    c.data.train_split = "train"
    c.data.test_name = "as trained"  # what tables call the test split
    c.data.on_bad = "error"  # "error" | "skip": what to do about unusable examples
    c.data.mask = "soft"  # "soft": as resized | "binary": above 1/2
    c.data.resize = "squash"  # "squash": whole photo | "crop": the model's own short side and crop
    c.data.scenes = ml_collections.ConfigDict(
        {"per_class": 100, "background_correlation": 0.95, "seed": 0}
    )
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

    c.shifted = ml_collections.ConfigDict()  # another test set of the same classes; name "": none
    c.shifted.name = "scenes"
    c.shifted.root = ""
    c.shifted.split = "test"
    c.shifted.test_name = "decorrelated"
    c.shifted.scenes = ml_collections.ConfigDict(
        {"per_class": 100, "background_correlation": 0.0, "seed": 0}
    )
    c.shifted.rival10 = ml_collections.ConfigDict({"variant": "ordinary"})
    c.shifted.masked_folder = ml_collections.ConfigDict(
        {"mask_format": "auto", "mask_values": (), "ignore": (), "void": "background"}
        | {"class_map": "", "manifest": "", "exif": "fit"}
    )
    c.shifted.masked_folder.alpha_colour = "white"
    c.shifted.masked_folder.max_pixels = 178_956_970

    c.tokencut = ml_collections.ConfigDict()  # of the variant tokencut: photos with found masks
    c.tokencut.name = "masked_folder"
    c.tokencut.root = ""
    c.tokencut.split = "train"

    c.split = ml_collections.ConfigDict()
    c.split.by = "sorted"  # classes: "sorted" by name | "seed": shuffled
    c.split.num_classes = 0  # that are trained on, set A; 0: half of them
    c.split.classes = ()  # or name them
    c.split.per_class = 27
    c.split.images = "seed"  # of a class: "first" by name | "seed": shuffled
    c.split.validation = "training"  # "training" classes, other images | "held_out" classes
    c.split.validation_per_class = 3
    c.split.on_few = "error"  # "error" | "take": what to do if a class has fewer images

    c.train = ml_collections.ConfigDict()
    c.train.learning_rate = 3e-4
    c.train.epochs = 12
    c.train.batch = 8  # images per update
    c.train.trained = "attn"  # parameters whose names have this, a regular expression; "": all
    c.train.weight_decay = 1e-4
    c.train.decayed = "all"  # parameters | "kernels": without norms and biases
    c.train.rate_factor = 0.85  # the rate is multiplied by it
    c.train.rate_every = 2  # epochs
    c.train.accumulate = 1  # parts of a batch that are computed one after another
    c.train.dtype = "float32"  # | "bfloat16": of the computation
    c.train.remat = "none"  # | "dots": keeps matrix products alone for the backward pass
    c.train.augmentation = "area"  # crop of 80-100 % | "square": 7/8 of each side | "mirror"
    c.train.ties = "later"  # of two epochs with one validation loss | "earlier"
    c.train.together = ml_collections.config_dict.placeholder(object)
    c.train.together = "auto"  # trainings in one program, or their number
    c.train.save_seconds = 30.0

    c.loss = ml_collections.ConfigDict()  # as far as the objective has it
    c.loss.method = "relevance"  # what makes the map, a module of saliency
    c.loss.explained = "label"  # whose map is trained: "label" | "prediction"
    c.loss.border = "complement"  # of soft masks: "complement" | "released" | "rebinarised"
    c.loss.foreground_target = "mask"  # | "one": equation 2 as printed
    c.loss.temperature = 1.0
    c.loss.background_weight = 2.0
    c.loss.foreground_weight = 0.3
    c.loss.relevance_weight = 0.8
    c.loss.classification_weight = 0.2
    # What an objective has instead, also its own learning_rate.
    c.energy = ml_collections.ConfigDict(
        {"method": "gradient_x_input", "relevance_weight": 4.0, "classification_weight": 0.2}
    )
    c.energy_swap = ml_collections.ConfigDict(
        {"method": "gradient_x_input", "relevance_weight": 8.0}
        | {"kept_weight": 1.0, "swapped_weight": 1.0}
    )
    c.gradmask = ml_collections.ConfigDict({"relevance_weight": 0.8})
    c.rrr = ml_collections.ConfigDict({"relevance_weight": 0.8})

    c.evaluate = ml_collections.ConfigDict()
    c.evaluate.checkpoint = "best"  # | "last"
    c.evaluate.alphas = (0.5,)  # WiSE-FT: shares of the finetuned weights, beside 1
    c.evaluate.method = "relevance"
    c.evaluate.explained = "predicted"  # the class whose maps are compared with masks | "label"

    c.noise = ml_collections.ConfigDict()
    c.noise.norms = ("linf",)  # "linf", "l2" (unit norm per image and region)
    c.noise.sigmas = tuple(s / 255 for s in (60, 120, 180))  # linf, pixels in [0, 1]
    c.noise.epsilons = (50.0, 100.0, 150.0)  # l2
    c.noise.trials = 3

    c.statistics = ml_collections.ConfigDict()
    c.statistics.resamples = 2000
    c.statistics.confidence = 0.95
    c.statistics.method = "bca"  # "bca" | "percentile"

    if not preset:
        c.data.scenes.per_class = c.shifted.scenes.per_class = 30
        c.noise.trials = 2
    if preset == "table":
        c.variants = (
            *("original", "cross_entropy", "gradmask", "gradmask_released", "rrr"),
            *("rrr_released", "energy", "energy_swap", "robustvit", "robustvit_second_order"),
            *ABLATIONS,
        )
        c.seeds = (0, 1, 2)
        c.gradmask.relevance_weight = 1e5  # felt beside the cross-entropy, as rrr's
        c.rrr.relevance_weight = 1.0
        c.noise.trials = 1
    if preset in ("clean", "paper", "released", *PUBLISHED):  # on one's own masked photos
        c.models = ("timm/vit_base_patch16_224.augreg_in21k_ft_in1k",)
        c.variants = ("robustvit",)
        c.head = "imagenet"
        c.data.name = "masked_folder"
        c.data.split = "validation"
        c.data.test_name = "validation"
        c.data.resize = "crop"
        c.data.masked_folder.mask_format = "imagenet_s"
        c.shifted.name = ""
        c.split.num_classes = 500
        c.split.per_class = 3
        c.split.validation = "held_out"
        c.split.validation_per_class = 1
        c.split.on_few = "error"
        c.train.learning_rate = 6e-7
        c.train.epochs = 50
        c.train.trained = ""
        c.train.augmentation = "square"
        c.noise.trials = 10
    if preset in ("paper", "released", *PUBLISHED):
        c.split.images = "first"
    if preset in ("clean", "paper"):
        c.variants = ("robustvit_second_order",)  # the loss's own gradient
    if preset == "paper":
        c.loss.foreground_target = "one"
    if preset in ("released", *PUBLISHED):
        c.loss.border = "released"
        c.gradmask.relevance_weight = 0.8
        c.rrr.relevance_weight = 0.8 * c.train.batch  # a sum over the batch there, a mean here
    if preset in PUBLISHED:
        name, c.train.learning_rate, c.loss.temperature = PUBLISHED[preset]
        c.models = (name,)
    return c
