"""Groups of models, as a config names them."""

from __future__ import annotations

from collections.abc import Sequence


def groups(lines: Sequence[str]) -> dict[str, list[str]]:
    """Group -> models, from "name=model,model".

    Raises:
      ValueError: for a line of another form.

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
