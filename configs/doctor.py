"""Whether data sets are there, whole and as they are distributed, and how to lay them out.

  python -m rival_jax.main --config=configs/doctor.py                  how each set is laid out
  python -m rival_jax.main --config=configs/doctor.py \
      --config.sets="('imagenet_a=/data/imagenet-a', 'siscore=/data/si kind=rotation')"

It ends with an error where a number would be wrong.
"""

from rival_jax.configs.doctor import PRESETS, get_config
