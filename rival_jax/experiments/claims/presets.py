"""How the presets of every config differ."""

from __future__ import annotations

import json
import pkgutil

from rival_jax import configs
from rival_jax.report.tables import Table
from rival_jax.report.words import config_table
from rival_jax.runtime.plugins import plugin

PRESETS = ("paper", "released", "clean")


def differences() -> Table:
    """Every key that two of `PRESETS` set to different values, of every config that has them."""
    names = [module.name for module in pkgutil.iter_modules(configs.__path__)]
    rows = []
    for name in (name for name in names if name not in configs.PARTS):
        module = plugin("configs", name)
        if set(PRESETS) <= set(module.PRESETS):
            every = [json.loads(module.get_config(one).to_json()) for one in PRESETS]
            rows += [
                (name, key, *values)
                for key, values in config_table(every)
                if len(set(values)) > 1 and key != "preset"
            ]
    return Table("Presets of each config: values that differ", ("config", "key", *PRESETS), rows)
