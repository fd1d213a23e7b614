"""Cat, dog, equine, deer, frog, bird: functions of dice, `-> (parts, attributes of the whole)`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rival_jax.data.scenes.shapes import (
    BLACK,
    BRIGHT,
    NATURAL,
    PINK,
    WHITE,
    Colour,
    Dice,
    Part,
    Point,
    blob,
    ellipse,
    is_light,
    mix,
    polygon,
    ribbon,
    shade,
    tube,
)

Drawing = tuple[list[Part], str]
IRISES: tuple[Colour, ...] = ((0.95, 0.8, 0.2), (0.45, 0.8, 0.3), (0.35, 0.65, 0.95))
MANES: tuple[Colour, ...] = ((0.15, 0.12, 0.1), (0.85, 0.78, 0.62), (0.4, 0.22, 0.12))
BILLS: tuple[Colour, ...] = ((0.95, 0.65, 0.15), (0.3, 0.28, 0.28), (0.9, 0.4, 0.2))
HOOF: Colour = (0.15, 0.13, 0.12)
SIDES = (-1, 1)


def _coat(points: np.ndarray, colour: Colour, attributes: str = "") -> Part:
    """A part that carries the animal's markings."""
    return Part(points, colour, attributes, surface="coat")


def _mark(points: np.ndarray, colour: Colour, attributes: str = "patterned") -> Part:
    return Part(points, colour, attributes, marks="coat")


def _leg(hip: Point, foot: Point, width: float, fur: Colour, shoe: Colour) -> list[Part]:
    knee = (hip[0] + foot[0]) / 2 + 0.03, (hip[1] + foot[1]) / 2
    return [
        Part(tube([hip, knee, foot], (width * 1.5, width, width * 0.75)), fur),
        Part(ellipse(foot[0] + 0.02, foot[1], width * 0.5, width * 0.4), shoe),
    ]


def _legs(
    dice: Dice, xs: Point, hip: float, foot: float, width: float, fur: Colour, shoe: Colour
) -> tuple[list[Part], list[Part]]:
    """The two far legs, in shade, and the two near ones."""
    far, near = [], []
    for x in xs:
        swing = dice.uniform(-0.14, 0.14)
        away = x + 0.1 - swing, foot - 0.04
        far += _leg((x + 0.05, hip), away, width, shade(fur, 0.68), shade(shoe, 0.8))
        near += _leg((x, hip), (x + swing, foot), width, fur, shoe)
    return far, near


def _stripes(dice: Dice, xs: Sequence[float], width: float, ink: Colour) -> list[Part]:
    return [
        _mark(tube([(x, -0.9), (x + dice.uniform(-0.05, 0.1), 0), (x, 0.9)], (width,) * 3), ink)
        for x in xs
    ]


def _spots(dice: Dice, wide: Point, high: Point, size: float, ink: Colour) -> list[Part]:
    """Twelve spots with centres in `wide` (x) and `high` (y)."""
    parts = []
    for _ in range(12):
        x, y, stretch = dice.uniform(*wide), dice.uniform(*high), dice.uniform(0.7, 1.3)
        parts.append(_mark(ellipse(x, y, size * stretch, size), ink))
    return parts


def cat(dice: Dice) -> Drawing:
    """Sitting, face to the camera, tail around the side; tabby every other time."""
    fur, tabby, hook = dice.colour(NATURAL), dice.chance(0.5), dice.uniform(-0.35, 0.25)
    pale, x = mix(fur, WHITE, 0.45), dice.uniform(-0.12, 0.05)
    tail = [(0.35, 0.75), (0.75, 0.7), (0.85, 0.3), (0.72, hook)]
    parts = [
        Part(tube(tail, (0.2, 0.17, 0.15, 0.12)), shade(fur, 0.72), "tail"),
        _coat(blob("-27 -30  18 -30  42 20  55 70  30 90  -30 90  -52 70  -42 20"), fur),
        Part(ellipse(x, 0.2, 0.2, 0.38), pale),
        _coat(ellipse(0.36, 0.75, 0.22, 0.2), shade(fur, 0.9)),
        _coat(ellipse(-0.36, 0.75, 0.2, 0.2), shade(fur, 0.9)),
    ]
    for foot in (-0.16, 0.14):
        arm = tube([(x / 2 + foot, 0.3), (foot, 0.84)], (0.17, 0.2))
        parts += [Part(arm, mix(fur, pale, 0.3)), Part(ellipse(foot, 0.87, 0.13, 0.08), pale)]
    ink = shade(fur, 0.5) if is_light(fur) else mix(fur, WHITE, 0.3)
    for side in SIDES if tabby else ():
        for row in range(4):
            y = 0.24 * row - 0.05
            parts.append(_mark(tube([(side * 0.6, y), (side * 0.24, y + 0.1)], (0.1, 0.06)), ink))
    x += dice.uniform(-0.1, 0.1)
    for shift in (-0.16, 0.0, 0.16) if tabby else ():
        brow = [(x + shift, -0.9), (x + shift * 0.8, -0.66)]
        parts.append(_mark(tube(brow, (0.07, 0.05)), ink))
    return parts + _cat_head(dice, x, -0.5, fur, pale), "hairy"


def _cat_head(dice: Dice, x: float, y: float, fur: Colour, muzzle: Colour) -> list[Part]:
    iris, tall = dice.choice(IRISES), dice.uniform(0.46, 0.56)
    ears, face = [], [_coat(ellipse(x, y, 0.45, 0.36), fur)]
    for side in SIDES:
        root, tip, low = x + side * 0.06, x + side * 0.38, x + side * 0.42
        ears += [
            Part(polygon((root, y - 0.24), (tip, y - tall), (low, y - 0.06)), fur, "ears"),
            Part(blob("-2 8  2 -12  4 8", (tip - side * 0.06, y - 0.3)), PINK, "ears"),
        ]
        eye = x + side * 0.2, y - 0.03
        cheek = x + side * 0.12, y + 0.14, x + side * 0.4, y + 0.12
        face += [
            Part(ellipse(x + side * 0.09, y + 0.16, 0.13, 0.11), muzzle),
            Part(ellipse(*eye, 0.105, 0.1), iris, "colored-eyes"),
            Part(ellipse(*eye, 0.04, 0.09), BLACK, "colored-eyes"),
            Part(ribbon(*cheek, 0.02), mix(fur, BLACK, 0.6)),
        ]
    nose = polygon((x - 0.06, y + 0.08), (x + 0.06, y + 0.08), (x, y + 0.15))
    return [*ears, *face, Part(nose, PINK)]


def dog(dice: Dice) -> Drawing:
    """Standing in profile, snout ahead, tail up, collar; ears hang seven times in ten."""
    fur, patch, spotted = dice.colour(NATURAL), dice.colour(NATURAL), dice.chance(0.4)
    wag, x, y = dice.uniform(-0.2, 0.1), 0.62, dice.uniform(-0.56, -0.38)
    far, near = _legs(dice, (-0.52, 0.36), 0.15, 0.82, 0.18, fur, mix(fur, WHITE, 0.35))
    tail = [(-0.62, -0.15), (-0.85, -0.35), (-0.92 + wag, -0.75)]
    snout = tube([(x + 0.02, y + 0.03), (x + 0.42, y + 0.13)], (0.3, 0.17))
    parts = [
        *far,
        Part(tube(tail, (0.18, 0.15, 0.08)), fur, "tail"),
        _coat(tube([(0.32, -0.05), (x - 0.08, y + 0.1)], (0.42, 0.34)), fur),
        *near,
        _coat(blob("-68 -18  -30 -29  20 -29  52 -15  48 23  10 28  -30 22  -68 19"), fur),
        Part(snout, mix(fur, WHITE, 0.3), "long-snout"),
        Part(ribbon(x + 0.2, y + 0.17, x + 0.44, y + 0.18, 0.025), BLACK, "long-snout"),
        Part(ellipse(x + 0.48, y + 0.07, 0.07, 0.06), BLACK, "long-snout"),
        _coat(ellipse(x - 0.03, y - 0.03, 0.25, 0.23), fur),
        Part(ellipse(x + 0.1, y - 0.06, 0.045, 0.05), BLACK),
        Part(tube([(0.3, -0.32), (0.56, -0.12)], (0.08, 0.08)), dice.choice(BRIGHT)),
    ]
    if dice.chance(0.7):
        ear, kind = blob("-20 -22  -3 -16  -6 24  -20 34  -31 12", (x, y)), "ears floppy-ears"
    else:
        ear, kind = polygon((x - 0.24, y - 0.08), (x - 0.2, y - 0.48), (x + 0.02, y - 0.18)), "ears"
    parts.append(Part(ear, shade(patch if spotted else fur, 0.62), kind))
    if spotted:
        ink = mix(patch, BLACK, 0.3) if is_light(fur) else mix(patch, WHITE, 0.7)
        parts += _spots(dice, (-0.65, 0.65), (-0.3, 0.25), 0.1, ink)
    return parts, "hairy"


def equine(dice: Dice) -> Drawing:
    """A horse, or a zebra one time in three: arched neck, mane, hanging tail."""
    fur, hair, zebra = dice.colour(NATURAL), dice.choice(MANES), dice.chance(0.33)
    x, y = dice.uniform(0.58, 0.68), dice.uniform(-0.86, -0.72)
    far, near = _legs(dice, (-0.55, 0.3), 0.15, 1.0, 0.14, fur, HOOF)
    tail = [(-0.66, -0.12), (-0.92, -0.02), (-0.96, 0.35), (-0.9, 0.7)]
    head = [(x - 0.02, y + 0.05), (x + 0.2, y + 0.25), (x + 0.4, y + 0.48)]
    crest = [(x - 0.02, y - 0.06), (x - 0.16, y + 0.06), (0.3, -0.4), (0.12, -0.16)]
    parts = [
        *far,
        Part(tube(tail, (0.1, 0.18, 0.2, 0.1)), hair, "tail"),
        *near,
        _coat(blob("-74 -16  -35 -27  15 -24  50 -20  50 20  10 29  -35 25  -72 21"), fur),
        _coat(tube([(0.3, 0), (0.5, -0.42), (x - 0.04, y + 0.06)], (0.5, 0.32, 0.24)), fur),
        Part(blob("-12 0  -6 -24  4 -4", (x, y)), shade(fur, 0.8), "ears"),
        Part(blob("-2 0  8 -22  12 2", (x, y)), fur, "ears"),
        _coat(tube(head, (0.26, 0.23, 0.17)), fur, "long-snout"),
        Part(ellipse(x + 0.4, y + 0.48, 0.11, 0.1), mix(fur, BLACK, 0.55), "long-snout"),
        Part(ellipse(x + 0.08, y + 0.1, 0.035, 0.04), BLACK),
        Part(tube(crest, (0.12, 0.2, 0.24, 0.12)), hair, "mane"),
    ]
    if zebra:
        ink = BLACK if is_light(fur) else mix(fur, WHITE, 0.7)
        parts += _stripes(dice, [-0.75 + 0.145 * k for k in range(13)], 0.065, ink)
    return parts, "hairy tall"


def deer(dice: Dice) -> Drawing:
    """Slender and upright, with antlers and a short white tail; dappled every other time."""
    fur, spotted = dice.colour(NATURAL), dice.chance(0.5)
    pale, x, y = mix(fur, WHITE, 0.6), dice.uniform(0.42, 0.55), dice.uniform(-0.62, -0.5)
    far, near = _legs(dice, (-0.42, 0.26), 0.1, 0.92, 0.11, fur, HOOF)
    muzzle = tube([(x, y), (x + 0.16, y + 0.04), (x + 0.34, y + 0.12)], (0.26, 0.2, 0.13))
    parts = [
        *far,
        Part(tube([(-0.54, -0.16), (-0.7, -0.1), (-0.7, 0.08)], (0.12, 0.18, 0.1)), WHITE, "tail"),
        *near,
        _coat(blob("-58 -16  -20 -22  15 -24  42 -14  40 17  5 22  -25 18  -58 19"), fur),
        _coat(tube([(0.26, 0), (0.38, -0.35), (x, y)], (0.36, 0.22, 0.19)), fur),
        Part(tube([(0.42, 0.02), (0.47, -0.25)], (0.14, 0.08)), pale),
        *_antlers(dice, x, y - 0.08),
        Part(blob("-6 -2  -34 -18  -10 -16", (x, y)), shade(fur, 0.8), "ears"),
        Part(muzzle, fur, "long-snout"),
        Part(ellipse(x + 0.36, y + 0.11, 0.055, 0.05), BLACK, "long-snout"),
        Part(ellipse(x + 0.08, y - 0.02, 0.04, 0.045), BLACK),
    ]
    if spotted:
        parts += _spots(dice, (-0.55, 0.35), (-0.18, 0.05), 0.045, pale)
    return parts, "hairy tall"


def _antlers(dice: Dice, x: float, y: float) -> list[Part]:
    bone, reach = dice.colour(((0.8, 0.7, 0.52), (0.5, 0.38, 0.26))), dice.uniform(0.45, 0.58)
    parts = []
    for side, ink in zip(SIDES, (shade(bone, 0.75), bone), strict=True):
        fork = x + side * 0.3, y - reach * 0.45
        beam = [(x + side * 0.03, y), fork, (x + side * 0.34, y - reach)]
        inner = [fork, (x + side * 0.06, y - reach * 0.8)]
        outer = [(x + side * 0.22, y - reach * 0.25), (x + side * 0.52, y - reach * 0.5)]
        parts.append(Part(tube(beam, (0.09, 0.08, 0.06)), ink, "horns"))
        parts += [Part(tube(tine, (0.075, 0.05)), ink, "horns") for tine in (inner, outer)]
    return parts


def frog(dice: Dice) -> Drawing:
    """Squatting, face to the camera: eyes on top, wide mouth, folded hind legs, wet skin."""
    skin, iris, spotted = dice.colour(NATURAL + BRIGHT), dice.choice(IRISES), dice.chance(0.5)
    belly, dark, arm = mix(skin, (0.97, 0.95, 0.75), 0.6), shade(skin, 0.7), shade(skin, 0.88)
    wide, hind, front = dice.uniform(0.56, 0.66), [], []
    for side in SIDES:
        shin, elbow = side * 0.95, side * 0.36
        hind += [
            _coat(ellipse(side * 0.68, 0.3, 0.25, 0.42, turn=side * 0.5), dark),
            Part(tube([(side * 0.55, 0.62), (side * 1.02, 0.66)], (0.16, 0.1)), dark),
            *(Part(ribbon(shin, 0.66, side * 1.12, 0.66 + d, 0.06), dark) for d in (-0.1, 0, 0.1)),
        ]
        fore = [(side * 0.4, 0.3), (side * 0.42, 0.55), (elbow, 0.72)]
        front += [
            Part(tube(fore, (0.2, 0.14, 0.12)), arm),
            *(Part(ribbon(elbow, 0.7, elbow + d, 0.82, 0.06), arm) for d in (-0.14, 0, 0.14)),
            _coat(ellipse(elbow, -0.4, 0.21, 0.21), skin),
            Part(ellipse(elbow, -0.41, 0.145, 0.145), iris, "colored-eyes"),
            Part(ellipse(elbow, -0.41, 0.1, 0.05), BLACK, "colored-eyes"),
            Part(ellipse(side * 0.08, -0.16, 0.025, 0.02), BLACK),
        ]
    mouth = [(-wide * 0.75, -0.04), (0, 0.08), (wide * 0.75, -0.04)]
    parts = [
        *hind,
        _coat(ellipse(0, 0.22, wide, 0.48), skin),
        Part(ellipse(0, 0.38, wide * 0.62, 0.3), belly),
        _coat(ellipse(0, -0.1, wide * 0.98, 0.32), skin),
        *front,
        Part(tube(mouth, (0.04, 0.05, 0.04)), mix(skin, BLACK, 0.65)),
    ]
    if spotted:
        ink = shade(skin, 0.5) if is_light(skin) else mix(skin, (0.95, 0.85, 0.3), 0.6)
        parts += _spots(dice, (-0.85, 0.85), (-0.35, 0.5), 0.07, ink)
    glints = ((-0.2, -0.28), (0.12, -0.3), (-0.72, 0.1), (0.7, 0.1))
    return parts + [_mark(ellipse(*at, 0.09, 0.03), WHITE, "wet") for at in glints], "wet"


def bird(dice: Dice) -> Drawing:
    """Perched in profile, or flying with both wings raised four times in ten."""
    plume, other = dice.colour(NATURAL + BRIGHT), dice.colour(NATURAL + BRIGHT)
    bill, fan, peck = dice.choice(BILLS), dice.uniform(0, 0.25), dice.uniform(0.22, 0.4)
    dark, wing, edge = shade(plume, 0.65), shade(plume, 0.8), mix(plume, other, 0.7)
    tail = polygon((-0.45, 0.12), (-1.1, 0.2 + fan), (-1.05, 0.42 + fan), (-0.4, 0.36))
    body = [
        Part(blob("-60 20  -25 -18  20 -32  55 -10  45 35  0 52  -40 42"), plume),
        Part(blob("5 44  30 10  56 -10  48 30  25 46"), mix(other, WHITE, 0.45)),
        Part(polygon((0.68, -0.48), (0.72 + peck, -0.32), (0.68, -0.26)), bill, "beak"),
        Part(ellipse(0.5, -0.38, 0.28, 0.26), plume),
        Part(ellipse(0.58, -0.42, 0.06, 0.06), WHITE),
        Part(ellipse(0.59, -0.42, 0.04, 0.045), BLACK),
    ]
    if dice.chance(0.4):
        behind = [Part(blob("5 -10  35 -15  52 -70  40 -115  10 -75"), dark, "wings")]
        over = [
            Part(blob("28 5  -25 18  -45 -35  -48 -115  -8 -85  20 -40"), wing, "wings"),
            Part(blob("-25 5  -45 -35  -48 -115  -28 -75  -20 -40"), edge, "wings"),
        ]
    else:
        feet, behind = shade(bill, 0.8), []
        for x in (-0.05, 0.14):
            behind.append(Part(ribbon(x, 0.45, x + 0.06, 0.88, 0.055), feet))
            behind.append(Part(ribbon(x - 0.04, 0.88, x + 0.22, 0.88, 0.06), feet))
        over = [
            Part(blob("22 -8  25 15  -10 34  -75 36  -35 10  -10 -12"), wing, "wings"),
            Part(blob("-5 26  -75 36  -35 18  0 12"), edge, "wings"),
        ]
    return [Part(tail, dark, "tail"), *behind, *body, *over], ""
