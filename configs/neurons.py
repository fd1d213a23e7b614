"""Which neuron stands for which attribute, and does it on new images (RIVAL10 study, section 6).

  python -m rival_jax.main --config=configs/neurons.py                     the demo, bundled data
  python -m rival_jax.main --config=configs/neurons.py:clean --config.models="('path/to/model',)" \
      --config.data.name=rival10 --config.data.root=path/to/RIVAL10

Presets: none (demo), clean, paper, released.
"""

from rival_jax.configs.neurons import PRESETS, get_config
