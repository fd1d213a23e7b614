"""Photos with the outlines of their masks, doubtful ones first: look before you measure.

  python -m rival_jax.main --config=configs/look.py
  python -m rival_jax.main --config=configs/look.py \
      --config.data.name=masked_folder --config.data.root=photos
"""

from rival_jax.configs.look import PRESETS, get_config
