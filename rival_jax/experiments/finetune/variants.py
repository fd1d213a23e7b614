"""What can be compared: objectives with their options, by the names that tables use."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from rival_jax.configs import options as block
from rival_jax.configs.finetune import Config
from rival_jax.objectives.robustvit import ABLATIONS
from rival_jax.runtime.parallel import Bound
from rival_jax.runtime.plugins import no_such, plugin
from rival_jax.types import Array, Batch, Model, Variables

ORIGINAL = "original"
FIRST_ORDER, SECOND_ORDER = {"through_grads": False}, {"through_grads": True}
LAST_LAYER = r"^(head|head_dist|fc)/"
# Name -> objective (a module of `objectives`) and its options: the control, the baselines as
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
FOUND_MASKS = ("tokencut", "energy_swap_tokencut")  # trained with the masks of `config.tokencut`
RATE = "learning_rate"  # may be among an objective's own options, and among changed numbers


@dataclasses.dataclass(frozen=True)
class Setting:
    """A variant with some numbers changed: "robustvit background_weight=4"."""

    name: str
    variant: str
    terms: Bound  # (variables, batch, numbers) -> terms
    numbers: dict[str, float]
    learning_rate: float
    masks: str  # "data" | "tokencut"
    trained: str  # see `config.train`
    options: dict[str, Any]  # all the objective's options, for the record
    needs: tuple[str, ...]  # besides images, masks and labels, see `objectives`


def settings(config: Config, model: Model) -> list[Setting]:
    """Every variant with each of `config.settings`; without the original.

    Raises ValueError for an unknown variant, or a setting that is not a number of its objective.
    """
    names = [name for name in config.variants if name != ORIGINAL]
    found = [_setting(config, model, name, words) for name in names for words in config.settings]
    told = [setting.name for setting in found]
    if len(set(told)) < len(told):
        raise ValueError(f"config.variants x config.settings: {told} has one twice")
    if not found:
        raise ValueError("config.variants names nothing to finetune; name at least one objective")
    return found


def _setting(config: Config, model: Model, name: str, words: str) -> Setting:
    if name not in VARIANTS and "." not in name:
        raise ValueError("config.variants: " + no_such(name, [ORIGINAL, *VARIANTS]))
    objective, own = VARIANTS.get(name, (name, {}))  # a dotted name is a user's module
    module = plugin("objectives", objective)
    known = [*inspect.signature(module.terms).parameters][3:]
    options = {key: value for key, value in block(config, "loss").items() if key in known}
    options = {RATE: config.train.learning_rate, **options}
    options |= {**block(config, objective.replace(".", "_")), **own}
    numbers = [key for key in (*known, RATE) if _is_number(options.get(key, 0.0))]
    for key, value in _parsed(words).items():
        if key not in numbers:
            text = f"config.settings: among the numbers of {objective} is "
            raise ValueError(text + no_such(key, numbers))
        options[key] = value
    rate, trained = float(options.pop(RATE)), str(options.pop("trained", config.train.trained))
    if unknown := sorted(options.keys() - set(known)):
        raise ValueError(f"config.{objective}: " + no_such(unknown[0], known))
    changeable = {key: float(value) for key, value in options.items() if _is_number(value)}
    fixed = tuple(sorted((k, v) for k, v in options.items() if k not in changeable))
    return Setting(
        name=f"{name} {words}".strip().replace(" ", "+"),
        variant=name,
        terms=Bound(_terms, (module.terms, model, fixed)),
        numbers=changeable,
        learning_rate=rate,
        masks="tokencut" if name in FOUND_MASKS else "data",
        trained=trained,
        options=options,
        needs=tuple(getattr(module, "NEEDS", ())),
    )


def _terms(
    terms: Any,
    model: Model,
    fixed: tuple[tuple[str, Any], ...],
    variables: Variables,
    batch: Batch,
    numbers: Mapping[str, Any],
) -> dict[str, Array]:
    return terms(model, variables, batch, **dict(fixed), **numbers)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _parsed(words: str) -> dict[str, float]:
    """ "a=1 b=2" as numbers."""
    pairs = (word.partition("=") for word in words.split())
    try:
        return {key: float(value) for key, _, value in pairs}
    except ValueError:
        text = f"config.settings: got {words!r}, expected 'background_weight=4'"
        raise ValueError(text) from None
