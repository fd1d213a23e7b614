"""How much labelled data a cure needs: photos of each class, and classes, by several class seeds.

  python -m rival_jax.main --config=configs/sweep.py                       the demo, bundled data
  python -m rival_jax.main --config=configs/sweep.py:scenes                three cures, five seeds
  python -m rival_jax.main --config=configs/sweep.py:clean \
      --config.data.root=photos --config.sizes.per_class='(1,3,9)'         on your own masked photos

Presets: none (demo), scenes, clean, paper, released.
"""

from rival_jax.configs.sweep import PRESETS, get_config
