"""From photos to a cured network and its card, in one command.

  python -m rival_jax.main --config=configs/study.py                       the demo, bundled data
  python -m rival_jax.main --config=configs/study.py:clean \
      --config.finetune.data.root=photos --config.robustness.data.root=sets

Presets: none (demo), clean, paper, released.
"""

from rival_jax.configs.study import PRESETS, get_config
