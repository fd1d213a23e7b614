"""The ten backgrounds: `NAME(dice, size) -> float32 [size, size, 3]`, values about [0, 1]."""

from __future__ import annotations

import itertools

import numpy as np

from rival_jax.data.scenes.shapes import Colour, Dice, Number, mix, shade
from rival_jax.data.scenes.sketch import Sketch, below, grain, texture, vary

DAYS = (  # a sky's colours overhead and at the horizon
    ((0.36, 0.58, 0.88), (0.78, 0.88, 0.95)),
    ((0.62, 0.7, 0.78), (0.85, 0.87, 0.88)),
    ((0.45, 0.5, 0.75), (0.98, 0.78, 0.58)),
)
VERGES = (0.45, 0.5, 0.25), (0.6, 0.52, 0.36), (0.36, 0.45, 0.22)
HOUSES = (0.9, 0.8, 0.72), (0.7, 0.5, 0.42), (0.72, 0.76, 0.82)
PANES = (0.98, 0.86, 0.5), (0.62, 0.76, 0.88), (0.2, 0.24, 0.32)
SEAS = (0.08, 0.32, 0.5), (0.12, 0.42, 0.52), (0.2, 0.3, 0.42)
WALLS = (0.85, 0.78, 0.66), (0.62, 0.72, 0.74), (0.8, 0.6, 0.56), (0.66, 0.68, 0.52)
WOODS = (0.62, 0.42, 0.26), (0.45, 0.3, 0.2), (0.75, 0.58, 0.4)
FENCES = (0.96, 0.95, 0.93), (0.6, 0.42, 0.28), (0.75, 0.7, 0.62)
STRAWS = (0.86, 0.72, 0.4), (0.78, 0.62, 0.34), (0.82, 0.76, 0.5)
PONDS = (0.16, 0.32, 0.3), (0.2, 0.36, 0.42), (0.26, 0.34, 0.24)
LEAVES = (0.42, 0.62, 0.2), (0.92, 0.66, 0.74), (0.88, 0.5, 0.16), (0.72, 0.74, 0.24)
FRAME: Colour = (0.96, 0.95, 0.92)


def _hills(dice: Dice, sketch: Sketch, horizon: Number, colour: Colour) -> None:
    xs = np.linspace(0.0, 1.0, 9)
    rise = [horizon - dice.uniform(0.0, 0.1) for _ in xs]
    foot = horizon + 0.02
    sketch.polygon([*zip(xs, rise, strict=True), (1, foot), (0, foot)], colour)


def road(dice: Dice, size: int) -> np.ndarray:
    """A road to the horizon, verges, hills."""
    horizon, x = dice.uniform(0.25, 0.45), dice.uniform(0.3, 0.7)
    sketch = Sketch(size, *dice.choice(DAYS))
    verge = vary(dice, dice.choice(VERGES))
    _hills(dice, sketch, horizon, mix(verge, (0.5, 0.55, 0.6), 0.5))
    sketch.box(0, horizon, 1, 1, verge)
    tar = vary(dice, (0.36, 0.36, 0.38))
    sketch.polygon([(x - 0.03, horizon), (x + 0.03, horizon), (1.25, 1), (-0.25, 1)], tar)
    for edge in (-0.2, 1.2):
        near = edge + (0.05 if edge < 0.5 else -0.05)
        sketch.polygon([(x, horizon), (edge, 1), (near, 1)], (0.9, 0.88, 0.82))
    for start in (0.08, 0.25, 0.5, 0.8):
        dash = []
        for share, sides in ((start, (-1, 1)), (start * 1.3, (1, -1))):
            y, middle = horizon + (1 - horizon) * share, x + (0.5 - x) * share
            dash += [(middle + side * 0.03 * (y - horizon), y) for side in sides]
        sketch.polygon(dash, (0.95, 0.85, 0.4))
    rough = grain(dice, size, 0.16) + texture(dice, size, 12, 12) * 0.12 - 0.06
    return sketch.pixels() + rough * below(size, horizon)


def city(dice: Dice, size: int) -> np.ndarray:
    """Two rows of houses with windows, and the pavement."""
    sketch = Sketch(size, *dice.choice(DAYS))
    pavement = dice.uniform(0.72, 0.85)
    for layer, tone in ((0, 0.72), (1, 0.5)):
        x = -dice.uniform(0.0, 0.15)
        while x < 1:
            width, top = dice.uniform(0.13, 0.26), dice.uniform(0.05, 0.4) + 0.12 * layer
            wall = shade(vary(dice, dice.choice(HOUSES)), tone)
            sketch.box(x, top, x + width - 0.01, pavement, wall)
            _windows(dice, sketch, x, top, width, pavement, wall)
            x += width
    kerb = vary(dice, (0.62, 0.6, 0.58))
    sketch.box(0, pavement, 1, 1, kerb)
    sketch.box(0, pavement, 1, pavement + 0.025, shade(kerb, 1.25))
    for x in np.arange(dice.uniform(0.0, 0.2), 1, 0.2):
        near = x * 1.3 - 0.15
        joint = [(x, pavement), (x + 0.012, pavement), (near + 0.02, 1), (near, 1)]
        sketch.polygon(joint, shade(kerb, 0.75))
    return sketch.pixels() + grain(dice, size, 0.08)


def _windows(
    dice: Dice, sketch: Sketch, x: Number, top: Number, width: Number, bottom: Number, wall: Colour
) -> None:
    lit = dice.choice(PANES)
    for y in np.arange(top + 0.04, bottom - 0.05, 0.085):
        for column in range(int(width / 0.06)):
            left = x + 0.02 + column * 0.06
            pane = lit if dice.chance(0.7) else shade(wall, 0.6)
            sketch.box(left, y, left + 0.03, y + 0.045, pane)


def sky(dice: Dice, size: int) -> np.ndarray:
    """Clouds."""
    above, low = dice.choice(DAYS)
    base = Sketch(size, shade(above, 0.9), mix(low, above, 0.35)).pixels()
    grids = ((4, 3, 0.55), (9, 7, 0.3), (20, 16, 0.15))
    billow = sum(share * texture(dice, size, rows, columns) for rows, columns, share in grids)
    cover = dice.uniform(0.42, 0.55)
    cloud = np.clip((billow - cover) * 6, 0, 1)
    light = 0.97 - 0.2 * np.clip((billow - cover - 0.12) * 4, 0, 1)
    return base * (1 - cloud) + cloud * light * np.array((1.0, 0.99, 0.97), np.float32)


def sea(dice: Dice, size: int) -> np.ndarray:
    """Waves under a sky."""
    horizon = dice.uniform(0.2, 0.42)
    above, low = dice.choice(DAYS)
    sketch = Sketch(size, above, low)
    water = vary(dice, dice.choice(SEAS))
    sketch.box(0, horizon, 1, 1, water)
    swell = (texture(dice, size, 26, 4) + texture(dice, size, 44, 12)) / 2
    under = below(size, horizon)
    rows = np.arange(size, dtype=np.float32)[:, None, None] / size
    depth = np.clip((rows - horizon) / (1 - horizon), 0, 1)
    crest = np.clip((swell - 0.64) * 7, 0, 1) * depth
    glint = (1 - depth) * np.array(low, np.float32) * 0.35
    tinted = sketch.pixels() + under * ((swell - 0.5) * (0.2 + 0.4 * depth) + glint)
    return tinted + under * crest * (0.95 - tinted)


def room(dice: Dice, size: int) -> np.ndarray:
    """Wallpaper, most often a window, wooden floor."""
    wall = vary(dice, dice.choice(WALLS))
    sketch = Sketch(size, shade(wall, 0.92), wall)
    floor, step = dice.uniform(0.62, 0.78), dice.uniform(0.08, 0.14)
    dots = dice.chance(0.4)
    for index, x in enumerate(np.arange(0, 1.1, step)):
        if not dots:
            sketch.box(x, 0, x + step * 0.5, floor, shade(wall, 0.87))
            continue
        for y in np.arange(0.03 + step * 0.5 * (index % 2), floor, step):
            sketch.ellipse(x, y, step * 0.2, step * 0.2, shade(wall, 0.75))
    if dice.chance(0.7):
        x, y = dice.uniform(0.05, 0.6), dice.uniform(0.05, 0.15)
        sketch.box(x, y, x + 0.34, y + 0.3, FRAME)
        sketch.box(x + 0.03, y + 0.03, x + 0.31, y + 0.27, vary(dice, (0.45, 0.62, 0.75), 0.3))
        sketch.box(x + 0.155, y, x + 0.185, y + 0.3, FRAME)
    wood = vary(dice, dice.choice(WOODS))
    sketch.box(0, floor, 1, 1, wood)
    gaps, crack = [floor + (1 - floor) * (row / 4) ** 1.2 for row in range(5)], shade(wood, 0.65)
    for y, end in itertools.pairwise(gaps):
        sketch.box(0, y, 1, y + 0.008, crack)
        for x in (dice.uniform(0, 0.5), dice.uniform(0.5, 1)):
            sketch.box(x, y, x + 0.008, end, crack)
    sketch.box(0, floor - 0.04, 1, floor, (0.93, 0.92, 0.9))
    planks = (texture(dice, size, 30, 4) - 0.5) * 0.16 * below(size, floor)
    return sketch.pixels() + planks + grain(dice, size, 0.05)


def lawn(dice: Dice, size: int) -> np.ndarray:
    """Mown stripes in front of a picket fence."""
    horizon = dice.uniform(0.3, 0.42)
    sketch = Sketch(size, *dice.choice(DAYS))
    _hills(dice, sketch, horizon - 0.08, (0.3, 0.45, 0.3))
    grass = vary(dice, (0.4, 0.66, 0.24))
    sketch.box(0, horizon - 0.1, 1, 1, grass)
    x = dice.uniform(0.3, 0.7)
    for index in range(-8, 9, 2):
        far, near = x + index * 0.05, x + index * 0.22
        stripe = [(far, horizon), (far + 0.05, horizon), (near + 0.22, 1), (near, 1)]
        sketch.polygon(stripe, shade(grass, 0.83))
    fence = dice.choice(FENCES)
    for y in (horizon - 0.15, horizon - 0.05):
        sketch.box(0, y, 1, y + 0.03, shade(fence, 0.85))
    for x in np.arange(dice.uniform(-0.06, 0.0), 1, 0.075):
        tip, end = horizon - 0.22, x + 0.045
        top = [(x, tip + 0.03), (x + 0.022, tip), (end, tip + 0.03)]
        sketch.polygon([(x, horizon), *top, (end, horizon)], fence)
    blades = (texture(dice, size, size // 3, size) - 0.5) * 0.25
    return sketch.pixels() + blades * below(size, horizon)


def prairie(dice: Dice, size: int) -> np.ndarray:
    """Tufts of dry grass under hills."""
    horizon = dice.uniform(0.3, 0.5)
    sketch = Sketch(size, *dice.choice(DAYS))
    straw = vary(dice, dice.choice(STRAWS))
    _hills(dice, sketch, horizon, mix(straw, (0.55, 0.5, 0.65), 0.6))
    sketch.box(0, horizon, 1, 1, straw)
    for _ in range(26):
        x, y = dice.uniform(0, 1), horizon + (1.05 - horizon) * dice.uniform(0, 1) ** 0.7
        tall, tone = 0.22 * (y - horizon) + 0.02, shade(straw, dice.uniform(0.6, 1.2))
        for lean in (-0.4, 0.0, 0.4):
            sketch.polygon([(x - 0.012, y), (x + 0.012, y), (x + lean * tall, y - tall)], tone)
    blades = (texture(dice, size, size // 5, size // 2) - 0.5) * 0.2
    return sketch.pixels() + blades * below(size, horizon)


def forest(dice: Dice, size: int) -> np.ndarray:
    """Trunks at three distances."""
    green = vary(dice, (0.22, 0.36, 0.2))
    sketch = Sketch(size, mix(green, (0.75, 0.85, 0.6), 0.35), shade(green, 0.6))
    floor = dice.uniform(0.68, 0.82)
    sketch.box(0, floor, 1, 1, vary(dice, (0.34, 0.27, 0.16)))
    for tone, count, width in ((0.45, 9, 0.03), (0.75, 5, 0.06), (1.0, 3, 0.09)):
        for _ in range(count):
            x, lean = dice.uniform(-0.02, 1), dice.uniform(-0.03, 0.03)
            bark = mix(vary(dice, (0.4, 0.29, 0.2)), mix(green, (0.7, 0.8, 0.6), 0.3), 1 - tone)
            foot = floor + 0.12 * tone - 0.04
            right = (x + lean + width * 0.8, 0), (x + width, foot)
            sketch.polygon([(x, foot), (x + lean, 0), *right], bark)
            middle = (x + width * 0.65, foot), (x + lean + width * 0.5, 0)
            sketch.polygon([*middle, *right], shade(bark, 0.7))
    leaves = texture(dice, size, 24, 24) * 0.6 + dice.grid(size, size, 1) * 0.4
    return sketch.pixels() + (leaves - 0.5) * np.array((0.22, 0.3, 0.14), np.float32)


def pond(dice: Dice, size: int) -> np.ndarray:
    """Lily pads seen from above."""
    water = vary(dice, dice.choice(PONDS))
    sketch = Sketch(size, shade(water, 1.3), shade(water, 0.75))
    for _ in range(16):
        x, y = dice.uniform(0, 1), dice.uniform(0, 1)
        radius = dice.uniform(0.06, 0.13) * (0.6 + 0.6 * y)
        pad = vary(dice, (0.38, 0.6, 0.28), 0.2)
        sketch.ellipse(x, y, radius, radius * 0.55, shade(pad, 0.7))
        sketch.ellipse(x, y - 0.008, radius * 0.94, radius * 0.5, pad)
        cut = dice.uniform(-0.5, 0.5)
        rim = x + radius * 1.1
        sketch.polygon([(x, y), (rim, y + radius * cut), (rim, y + radius * (cut + 0.4))], water)
        if dice.chance(0.3):
            for side in (-0.035, 0.0, 0.035):
                sketch.ellipse(x + side, y - 0.035, 0.022, 0.035, (0.95, 0.7, 0.8))
            sketch.ellipse(x, y - 0.02, 0.015, 0.015, (0.98, 0.85, 0.35))
    ripple = texture(dice, size, 30, 5) - 0.5
    return sketch.pixels() + ripple * 0.16


def canopy(dice: Dice, size: int) -> np.ndarray:
    """Branches and falling leaves against the light."""
    leaf = dice.choice(LEAVES)
    sketch = Sketch(size, (0.8, 0.9, 0.96), mix((0.9, 0.92, 0.85), leaf, 0.3))
    for tone, count in ((0.55, 22), (1.0, 26)):
        for _ in range(count):
            x, y, length = dice.uniform(0, 1), dice.uniform(0, 1), dice.uniform(0.06, 0.11)
            dx, dy = length * dice.uniform(-1, 1), length * 0.7
            tint = shade(vary(dice, leaf, 0.2), dice.uniform(0.75, 1.1))
            wide = length * 0.42
            left, right = (x - wide, y + wide * 0.3), (x + wide, y - wide * 0.3)
            outline = [(x - dx, y - dy), right, (x + dx, y + dy), left]
            sketch.polygon(outline, mix(tint, (0.95, 0.97, 0.95), 0.6 * (1 - tone)))
        for _ in range(3 if tone < 1 else 0):
            y, end = dice.uniform(0.1, 0.95), dice.uniform(0, 0.9)
            branch = [(0, y), (0, y + 0.06), (1, end + 0.025), (1, end)]
            sketch.polygon(branch, vary(dice, (0.36, 0.27, 0.22)))
    return sketch.pixels() + grain(dice, size, 0.06)
