"""What can be compared: objectives with their options, by the names that tables use."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from rival_jax.configs import options as block
from rival_jax.configs.finetune import Config
from rival_jax.objectives._variants import FOUND_MASKS, VARIANTS
from rival_jax.runtime.parallel import Bound
from rival_jax.runtime.plugins import no_such, plugin
from rival_jax.runtime.update import Recipe, bound_terms
from rival_jax.types import Model

ORIGINAL = "original"
RATE = "learning_rate"  # may be among an objective's own options, and among changed numbers
SIZES = ("per_class", "num_classes")  # of `config.split`; may be among changed numbers


@dataclasses.dataclass(frozen=True)
class Setting:
    """A variant with some numbers changed: "robustvit background_weight=4"."""

    name: str
    variant: str
    terms: Bound  # (variables, batch, numbers) -> terms
    numbers: dict[str, float]
    learning_rate: float
    masks: str  # "data" | "tokencut"
    sizes: tuple[tuple[str, int], ...]  # what replaces values of `config.split`
    recipe: Recipe
    options: dict[str, Any]  # all the objective's options, for the record; JSON-able
    needs: tuple[str, ...]  # besides images, masks and labels, see `objectives`

    @property
    def seen(self) -> tuple[str, tuple[tuple[str, int], ...]]:
        """What decides the images that it trains on."""
        return self.masks, self.sizes


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
    sizes: dict[str, int] = {}
    for key, value in _parsed(words).items():
        if key in SIZES:
            sizes[key] = _size(config, key, value)
        elif key in numbers:
            options[key] = value
        else:
            text = f"config.settings: among the numbers of {objective} is "
            raise ValueError(text + no_such(key, [*numbers, *SIZES]))
    rate, trained = float(options.pop(RATE)), str(options.pop("trained", config.train.trained))
    if unknown := sorted(options.keys() - set(known)):
        raise ValueError(f"config.{objective}: " + no_such(unknown[0], known))
    changeable = {key: float(value) for key, value in options.items() if _is_number(value)}
    fixed = tuple(sorted((k, v) for k, v in options.items() if k not in changeable))
    named = {field.name for field in dataclasses.fields(Recipe)} - {"batch_size", "trained"}
    told = {name: getattr(config.train, name) for name in named}
    return Setting(
        name=f"{name} {words}".strip().replace(" ", "+"),
        variant=name,
        terms=Bound(bound_terms, (module.terms, model, fixed)),
        numbers=changeable,
        learning_rate=rate,
        masks="tokencut" if name in FOUND_MASKS else "data",
        sizes=tuple(sizes.items()),
        recipe=Recipe(batch_size=config.train.batch, trained=trained, **told),
        options={k: v if isinstance(v, (int, float, str)) else str(v) for k, v in options.items()},
        needs=tuple(getattr(module, "NEEDS", ())),
    )


def _size(config: Config, key: str, value: float) -> int:
    if value < 1 or value % 1:
        raise ValueError(f"config.settings: {key}={value:g}, expected a whole number from 1 up")
    if key == "num_classes" and config.split.classes:
        raise ValueError("config.settings: num_classes, but config.split.classes names set A")
    return int(value)


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
