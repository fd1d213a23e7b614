"""The cure: finetuning a ViT so that its relevance maps sit on the object (RobustViT).

  python -m rival_jax.main --config=configs/finetune.py                    the demo, bundled data
  python -m rival_jax.main --config=configs/finetune.py:table              all variants, three seeds
  python -m rival_jax.main --config=configs/finetune.py:vit_b \
      --config.data.root=path/to/ImageNetS919 --config.shifted.name=      ViT-B as published

Presets: none (demo), table, clean, paper, released, and released with what was published for one
network: vit_b, vit_l, ar_s, ar_b, ar_l, deit_s, deit_b.
"""

from rival_jax.configs.finetune import PRESETS, get_config
