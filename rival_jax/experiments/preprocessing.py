"""What a config says about a network's input in place of its checkpoint."""

from __future__ import annotations

from typing import Any

from rival_jax import configs


def preprocessing(config: Any) -> dict[str, Any]:
    """What `config.preprocessing` says in place of checkpoints; see `models.load`."""
    given = configs.options(config, "preprocessing")
    return {key: value for key, value in given.items() if value}


def check_treatment(config: Any) -> None:
    """Raises ValueError for options of the input that would have no effect."""
    given = preprocessing(config)
    idle = [key for key in ("mean", "std") if key in given and config.normalise == "none"]
    why = "config.normalise='none' feeds bare pixels; pass --config.normalise=model"
    if not idle and config.data.resize == "squash":
        idle = [key for key in ("interpolation", "crop_pct") if key in given]
        why = "config.data.resize='squash' resizes all of a photo, bilinearly; pass "
        why += "--config.data.resize=crop"
    if idle:
        raise ValueError(
            f"config.preprocessing.{idle[0]}={given[idle[0]]!r} would do nothing: {why}, or omit it"
        )
