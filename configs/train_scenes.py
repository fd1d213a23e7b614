"""Small networks on drawn scenes, at several ties between background and class.

  python -m rival_jax.main --config=configs/train_scenes.py             the demo: under a minute
  python -m rival_jax.main --config=configs/train_scenes.py:bundled     what made the bundled models
  python -m rival_jax.main --config=configs/train_scenes.py:continued   and then vit_00_95

Presets: none (demo), bundled, continued.
"""

from rival_jax.configs.train_scenes import PRESETS, get_config
