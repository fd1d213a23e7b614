"""The published networks that can be named in other configs: which there are, which are here.

  python -m rival_jax.main --config=configs/models.py                                  all of them
  python -m rival_jax.main --config=configs/models.py --config.study=rival10 --config.match=vit
  python -m rival_jax.main --config=configs/models.py --config.fetch="('resnet50','deit_small')"
  python -m rival_jax.main --config=configs/models.py --config.study=rival10 \
      --config.fetch="('all',)"                    a whole study, before going offline
"""

from rival_jax.configs.models import PRESETS, get_config
