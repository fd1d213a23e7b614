"""Networks' maps cut into object and background, against masks: what a map finds of the object.

  python -m rival_jax.main --config=configs/segmentation.py                the demo, bundled data
  python -m rival_jax.main --config=configs/segmentation.py:released \
      --config.models="('path/to/vit',)" --config.data.root=path/to/gtsegs_ijcv.mat

Presets: none (demo), clean, paper, released.
"""

from rival_jax.configs.segmentation import PRESETS, get_config
