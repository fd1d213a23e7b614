"""What can be compared: objectives with their options, by the names that tables use."""

from __future__ import annotations

import dataclasses
import difflib
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


@dataclasses.dataclass(frozen=True)
class Variant:
    """One row of the comparison."""

    objective: str  # a module of `objectives`, or a dotted name
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    masks: str = "data"  # "data" | "tokencut": the folder that config.tokencut names


VARIANTS: dict[str, Variant] = {
    "cross_entropy": Variant("cross_entropy"),
    "gradmask": Variant("gradmask", {"through_grads": True}),
    "gradmask_released": Variant("gradmask", {"through_grads": False}),
    "rrr": Variant("rrr", {"through_grads": True}),
    "rrr_released": Variant("rrr", {"through_grads": False}),
    "energy": Variant("energy", {"through_grads": True}),
    "energy_swap": Variant("energy_swap", {"through_grads": True}),
    "robustvit": Variant("robustvit", {"through_grads": False}),
    "robustvit_second_order": Variant("robustvit", {"through_grads": True}),
    **{
        name.replace(" ", "_"): Variant("robustvit", {"through_grads": False, **options})
        for name, options in ABLATIONS.items()
    },
    "tokencut": Variant("robustvit", {"through_grads": False}, masks="tokencut"),
    "energy_swap_tokencut": Variant("energy_swap", {"through_grads": True}, masks="tokencut"),
}
"""The control, the baselines as meant and as released, RobustViT, its table 4, other masks."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """A variant with some numbers changed: "robustvit background_weight=4"."""

    name: str
    variant: str
    terms: Bound  # (variables, batch, numbers) -> terms
    numbers: dict[str, float]
    learning_rate: float
    masks: str
    options: dict[str, Any]  # all of the objective's, for the record
    needs: tuple[str, ...] = ()  # beside images, masks and labels, see `objectives`


def settings(config: Config, model: Model) -> list[Setting]:
    """Every variant with every one of `config.settings`; the original is none of them.

    Raises:
      ValueError: for an unknown variant, or a setting that names no number of the objective.
    """
    found = [
        _setting(config, model, name, words)
        for name in config.variants
        if name != ORIGINAL
        for words in config.settings
    ]
    names = [setting.name for setting in found]
    if len(set(names)) < len(names):
        raise ValueError(f"config.variants x config.settings: {names} has one twice")
    if not found:
        raise ValueError("config.variants names nothing to finetune; name at least one objective")
    return found


def variant(name: str) -> Variant:
    """By its name; a dotted name is somebody's own objective."""
    if name in VARIANTS:
        return VARIANTS[name]
    if "." in name:
        return Variant(name)
    raise ValueError("config.variants: " + no_such(name, [ORIGINAL, *VARIANTS]))


def _setting(config: Config, model: Model, name: str, words: str) -> Setting:
    chosen = variant(name)
    module = plugin("objectives", chosen.objective)
    known = [*inspect.signature(module.terms).parameters][3:]
    options = {key: value for key, value in block(config, "loss").items() if key in known}
    options |= block(config, chosen.objective.replace(".", "_"))
    rate = options.pop("learning_rate", config.train.learning_rate)
    options |= chosen.options
    for key, value in _parsed(words).items():
        if key == "learning_rate":
            rate = value
        elif key in known and _is_number(options.get(key, 0.0)):
            options[key] = value
        else:
            near = difflib.get_close_matches(key, [*known, "learning_rate"], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"config.settings: {key!r} is no number of the objective {chosen.objective}{hint}"
            )
    unknown = sorted(options.keys() - set(known))
    if unknown:
        raise ValueError(f"config.{chosen.objective}: " + no_such(unknown[0], known))
    numbers = {key: float(value) for key, value in options.items() if _is_number(value)}
    fixed = tuple(sorted((k, v) for k, v in options.items() if k not in numbers))
    terms = Bound(_terms, (module.terms, model, fixed))
    full = f"{name} {words}".strip().replace(" ", "+")
    needs = tuple(getattr(module, "NEEDS", ()))
    return Setting(full, name, terms, numbers, float(rate), chosen.masks, options, needs)


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
    found = {}
    for word in words.split():
        key, equals, value = word.partition("=")
        try:
            found[key] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise ValueError(f"config.settings: got {word!r}, expected 'background_weight=4'")
    return found
