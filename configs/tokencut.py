"""Masks for photos that have none: normalised cuts of a ViT's keys, refined at the photo's edges.

  python -m rival_jax.main --config=configs/tokencut.py                    the demo, bundled data
  python -m rival_jax.main --config=configs/tokencut.py:clean --config.models="('dino/vitb16',)" \
      --config.data.root=path/to/imagenet --config.data.split=train --config.tokencut.per_class=3

The masks and photos lie in WORKDIR/masks/MODEL/SPLIT; any experiment reads them with
--config.data.name=masked_folder --config.data.root=WORKDIR/masks/MODEL.

Presets: none (demo), clean, paper, released.
"""

from rival_jax.configs.tokencut import PRESETS, get_config
