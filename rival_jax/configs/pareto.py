"""Which cure, and at what price: cures under one budget, gains against accuracy lost.

Presets: none (demo), scenes, clean, paper, released.
"""

from __future__ import annotations

from dataclasses import dataclass

import ml_collections

from rival_jax.configs import Presets, at_preset, blocks, finetune
from rival_jax.configs.values import Share


@dataclass(frozen=True)
class Front:
    """What may be lost."""

    bound: Share = 0.02  # accuracy on the first test set, as a share; RobustViT allows 2-3 points


@dataclass(frozen=True)
class Config(finetune.Config):
    """The keys of config finetune, and the bound; their defaults are the demo."""

    experiment: str = "pareto"
    variants: tuple[str, ...] = ("cross_entropy", "last_layer", "energy_swap")
    train: finetune.Train = finetune.Train(epochs=6)
    evaluate: finetune.Evaluate = finetune.Evaluate(alphas=(0.5,))
    noise: blocks.Noise = blocks.Noise(sigmas=(120 / 255,), epsilons=(100.0,), trials=2)
    front: Front = Front()


# Every cure at three learning rates and, between the original's weights and its own, at four
# shares (WiSE-FT): of all, the best within the bound is taken.
CURES = {
    "variants": (
        *("cross_entropy", "last_layer", "swapped", "masktune", "gradmask", "rrr"),
        *("robustvit_second_order", "energy_swap"),
    ),
    "evaluate.alphas": (0.2, 0.4, 0.6, 0.8),
}
SCENES = {
    **finetune.LONG,
    **CURES,
    "settings": ("learning_rate=1e-4", "learning_rate=3e-4", "learning_rate=1e-3"),
    "train.epochs": 12,
    "gradmask.relevance_weight": 1e5,
    "rrr.relevance_weight": 1.0,
    "noise.sigmas": finetune.Config().noise.sigmas,
    "noise.trials": 1,
}
RATES = ("learning_rate=5e-7", "learning_rate=1.5e-6", "learning_rate=5e-6")  # RobustViT's range
STUDY = {**CURES, "settings": RATES, "shifted.name": "masked_folder"}
PRESETS: Presets = {
    "": {},
    "scenes": SCENES,
    **{name: {**finetune.PRESETS[name], **STUDY} for name in ("clean", "paper", "released")},
}


def get_config(preset: str = "") -> ml_collections.ConfigDict:
    """The config, as `preset` has it."""
    return at_preset(Config(), PRESETS, preset)
