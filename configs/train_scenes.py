"""Small networks on drawn scenes, at several ties between background and class.

  python -m rival_jax.main --config=configs/train_scenes.py             the demo: under a minute
  python -m rival_jax.main --config=configs/train_scenes.py:bundled     what made the bundled models
  python -m rival_jax.main --config=configs/train_scenes.py:continued   and then vit_00_95

Presets: none (demo), bundled, continued.
"""

import ml_collections

PRESETS = ("", "bundled", "continued")


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    if preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; there are: {', '.join(filter(None, PRESETS))}")
    c = ml_collections.ConfigDict()
    c.experiment = "train_scenes"
    c.preset = preset or "demo"
    c.architectures = ("vit",)  # "vit", "resnet"
    c.correlations = (0.95,)  # of background and class, one network each
    c.start = ""  # a network that training goes on from, of the one architecture; "": from chance
    c.seed = 0
    c.output = ""  # folder of the models; default <workdir>/models
    c.storage = "float16"  # precision of the saved weights

    c.data = ml_collections.ConfigDict()
    c.data.image_size = 64
    c.data.train_per_class = 20
    c.data.test_per_class = 10

    c.batch_size = 64
    c.brightness = 0.2  # images are multiplied by 1 - this to 1 + this
    c.weight_decay = 0.05
    c.label_smoothing = 0.05
    c.vit = ml_collections.ConfigDict()
    c.vit.epochs = 2
    c.vit.optimiser = "muon"  # "adamw" | "muon"
    c.vit.learning_rate = 1e-2
    c.vit.noise = 0.3  # half of the images get Gaussian noise, its sigma from 0 to this
    c.vit.architecture = ml_collections.ConfigDict(
        {"patch_size": 8, "width": 64, "depth": 3, "heads": 2, "mlp_ratio": 2.0}
    )
    c.resnet = ml_collections.ConfigDict()
    c.resnet.epochs = 2
    c.resnet.optimiser = "adamw"
    c.resnet.learning_rate = 3e-3
    c.resnet.noise = 0.1
    c.resnet.architecture = ml_collections.ConfigDict({"depths": (1, 1, 1, 1), "width": 12})

    if preset in ("bundled", "continued"):
        c.output = "rival_jax/assets/scenes"
        c.data.train_per_class = 1000
        c.data.test_per_class = 50
        c.vit.epochs = 12
        c.resnet.epochs = 6
    if preset == "bundled":
        c.architectures, c.correlations = ("vit", "resnet"), (0.0, 0.95)
    if preset == "continued":
        c.start = "scenes/vit_00"
        c.vit.epochs = 3
    return c
