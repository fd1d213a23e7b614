"""Objectives with their options, by the names that configs and tables use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rival_jax.objectives.robustvit import ABLATIONS

FIRST_ORDER, SECOND_ORDER = {"through_grads": False}, {"through_grads": True}
LAST_LAYER = r"^(head|head_dist|fc)/"
# Name -> objective (a module of this folder) and its options: the control, the baselines as
# intended and as released, RobustViT, its table 4, other masks.
VARIANTS: dict[str, tuple[str, Mapping[str, Any]]] = {
    "cross_entropy": ("cross_entropy", {}),
    "gradmask": ("gradmask", SECOND_ORDER),
    "gradmask_released": ("gradmask", FIRST_ORDER),
    "rrr": ("rrr", SECOND_ORDER),
    "rrr_released": ("rrr", FIRST_ORDER),
    "energy": ("energy", SECOND_ORDER),
    "energy_swap": ("energy_swap", SECOND_ORDER),
    "robustvit": ("robustvit", FIRST_ORDER),
    "robustvit_second_order": ("robustvit", SECOND_ORDER),
    **{k.replace(" ", "_"): ("robustvit", {**FIRST_ORDER, **v}) for k, v in ABLATIONS.items()},
    "masktune": ("masktune", {}),
    "swapped": ("swapped", {}),
    "last_layer": ("swapped", {"trained": LAST_LAYER}),
    "tokencut": ("robustvit", FIRST_ORDER),
    "energy_swap_tokencut": ("energy_swap", SECOND_ORDER),
}
FOUND_MASKS = ("tokencut", "energy_swap_tokencut")  # trained with masks that were found
