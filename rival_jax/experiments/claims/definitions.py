"""The RIVAL10 study's definitions (section 5.1), held against the package's own functions."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np

from rival_jax import metrics, noise


@functools.cache
def deviation(name: str) -> float:
    """How far the package is from a definition, at most, on random numbers.

    Args:
      name: "rfs", "irfs": from the printed formula. "distance": RFS from the distance to the
        diagonal over the largest that the same mean allows. "noise": from clip(x + n m) and
        clip(x + n (1 - m)). "magnitude": between the noise of both regions before clipping, as a
        share of its standard deviation.
    """
    return _noise(name) if name in ("noise", "magnitude") else _ratio(name)


def _ratio(name: str) -> float:
    fg, bg = np.random.default_rng(0).uniform(0.05, 0.95, (2, 1000)).astype(np.float32)
    found = (metrics.irfs if name == "irfs" else metrics.rfs)(jnp.asarray(fg), jnp.asarray(bg))
    middle = (fg.astype(float) + bg) / 2
    wanted = (bg - fg) / (2 * np.minimum(middle, 1 - middle))
    if name == "distance":  # a line across the diagonal leaves the square at one of its ends
        wanted = (bg - fg) / np.sqrt(2) / np.hypot(*[np.minimum(middle, 1 - middle)] * 2)
    return float(np.abs(np.asarray(found) - wanted).max())


def _noise(name: str) -> float:
    level = 0.5 if name == "noise" else 0.05  # so weak that nothing is cut off
    mask = np.random.default_rng(0).integers(0, 2, (8, 32, 32)).astype(np.float32)
    drawn = noise.gaussian(noise.key(0), jnp.arange(8, dtype=jnp.uint32), 0, (32, 32, 3))
    far, strength = [], []
    for region, where in (("foreground", mask), ("background", 1 - mask)):
        given = (jnp.full(drawn.shape, 0.5), jnp.asarray(mask), drawn)
        shown = np.asarray(noise.corrupt(*given, region=region, level=level, norm="linf"))
        wanted = np.clip(0.5 + level * np.asarray(drawn) * where[..., None], 0, 1)
        far.append(float(np.abs(shown - wanted).max()))
        strength.append(float(shown[where > 0].std()))
    return max(far) if name == "noise" else abs(strength[0] / strength[1] - 1)
