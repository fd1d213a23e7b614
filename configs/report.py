"""One report of several finished rfs runs: models measured on the same images, compared in pairs.

  python -m rival_jax.main --config=configs/report.py                  the newest run below runs/
  python -m rival_jax.main --config=configs/report.py --config.runs="('runs/a','runs/b')" \
      --config.groups="('ViTs=vit_tiny,vit_small','ResNets=resnet50')" --workdir=runs/a_and_b
"""

import ml_collections

PRESETS = ("",)


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    if preset not in PRESETS:
        raise ValueError(f"no preset {preset!r}; this config has none")
    c = ml_collections.ConfigDict()
    c.experiment = "report"
    c.runs = ()  # workdirs of finished rfs runs; () is the newest below runs/
    c.groups = ()  # "name=model,model": averaged in figure 4; models in no group stand alone

    c.statistics = ml_collections.ConfigDict()
    c.statistics.resamples = 2000
    c.statistics.confidence = 0.95
    c.statistics.method = "bca"  # "bca" | "percentile"
    return c
