"""One report of several finished rfs runs: models measured on the same images, compared in pairs.

  python -m rival_jax.main --config=configs/report.py                  the newest run below runs/
  python -m rival_jax.main --config=configs/report.py --config.runs="('runs/a','runs/b')" \
      --config.groups="('ViTs=vit_tiny,vit_small','ResNets=resnet50')" --workdir=runs/a_and_b
"""

from rival_jax.configs.report import PRESETS, get_config
