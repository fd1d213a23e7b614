"""Groups of models, as a config names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def groups(lines: Sequence[str]) -> dict[str, list[str]]:
    """Group -> models, from "name=model,model".

    Raises:
      ValueError: for a line in another form.

    >>> groups(["ViTs=vit_tiny, vit_small"])
    {'ViTs': ['vit_tiny', 'vit_small']}
    """
    found = {}
    for line in lines:
        name, equals, models = line.partition("=")
        if not (name.strip() and equals and models.strip()):
            raise ValueError(f"config.groups: got {line!r}, expected 'name=model,model'")
        found[name.strip()] = [model.strip() for model in models.split(",")]
    return found


def with_singles(models: Sequence[str], named: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The groups, then each remaining model as a group of its own.

    Raises:
      ValueError: for a group with a model not in `models`.
    """
    for group, members in named.items():
        if unknown := sorted(set(members) - set(models)):
            raise ValueError(
                f"group {group!r} names {', '.join(unknown)}; the models are {', '.join(models)}"
            )
    grouped = {model for members in named.values() for model in members}
    singles = {model: [model] for model in models if model not in grouped}
    return {**{name: list(members) for name, members in named.items()}, **singles}
