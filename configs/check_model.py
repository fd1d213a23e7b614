"""One look at networks: what they are, what they are fed, what they see, and if timm agrees.

  python -m rival_jax.main --config=configs/check_model.py                 the bundled ones
  python -m rival_jax.main --config=configs/check_model.py \
      --config.models="('timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k',)" \
      --config.images="('photo.jpg',)"
"""

import ml_collections

PRESETS = ("",)


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    if preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; this config has none")
    c = ml_collections.ConfigDict()
    c.experiment = "check_model"
    c.models = ("scenes/vit_95", "scenes/resnet_95")
    c.images = ()  # photos, or folders of them; () is a few drawn scenes
    c.dtype = "float32"  # "float32" | "bfloat16"
    c.image_size = 0  # side in pixels; 0: the one that the network was made for
    c.preprocessing = ml_collections.ConfigDict()  # in place of what each checkpoint says
    c.preprocessing.mean = ()  # of each channel, for pixels in [0, 1]; (): the checkpoint's
    c.preprocessing.std = ()
    c.preprocessing.interpolation = ""  # "nearest" | "bilinear" | "bicubic" | "lanczos"
    c.preprocessing.crop_pct = 0.0  # of the short side; 0: the checkpoint's
    c.preprocessing.num_heads = 0  # of a transformer whose checkpoint does not say; 0: it does
    c.top = 5  # classes shown of each image
    c.labels = ""  # text file of class names, a line each; "": ImageNet's synsets, or numbers
    c.compare = (
        "auto"  # "auto": with timm where it is installed and has the network | "timm" | "none"
    )
    c.tolerance = 1e-4  # of logits over their largest, and of attention
    return c
