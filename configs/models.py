"""The published networks that can be named in other configs: which there are, which are here.

  python -m rival_jax.main --config=configs/models.py                                  all of them
  python -m rival_jax.main --config=configs/models.py --config.study=rival10 --config.match=vit
  python -m rival_jax.main --config=configs/models.py --config.fetch="('resnet50','deit_small')"
  python -m rival_jax.main --config=configs/models.py --config.study=rival10 \
      --config.fetch="('all',)"                    a whole study, before going offline
"""

import ml_collections

PRESETS = ("",)


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    if preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; this config has none")
    c = ml_collections.ConfigDict()
    c.experiment = "models"
    c.study = ""  # "rival10" | "robustvit" | "tokencut" | "other"; "" lists all
    c.match = ""  # lists those with this in their name or an alias
    c.fetch = ()  # names to download; ("all",) downloads those that are listed
    c.cache = ""  # where to; default ~/.cache/rival_jax
    return c
