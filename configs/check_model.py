"""One look at networks: what they are, what they are fed, what they see, and if timm agrees.

  python -m rival_jax.main --config=configs/check_model.py                 the bundled ones
  python -m rival_jax.main --config=configs/check_model.py \
      --config.models="('timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k',)" \
      --config.images="('photo.jpg',)"
"""

from rival_jax.configs.check_model import PRESETS, get_config
