"""Dog, equine and deer: functions of dice, each `-> (parts, attributes of the whole)`."""

from __future__ import annotations

from collections.abc import Sequence

from rival_jax.data.scenes.shapes import (
    BLACK,
    BRIGHT,
    NATURAL,
    WHITE,
    Colour,
    Dice,
    Number,
    Part,
    Point,
    blob,
    coat,
    ellipse,
    is_light,
    mark,
    mix,
    polygon,
    ribbon,
    shade,
    spots,
    tube,
)

Drawing = tuple[list[Part], str]
MANES: tuple[Colour, ...] = ((0.15, 0.12, 0.1), (0.85, 0.78, 0.62), (0.4, 0.22, 0.12))
HOOF: Colour = (0.15, 0.13, 0.12)


def _leg(hip: Point, foot: Point, width: Number, fur: Colour, shoe: Colour) -> list[Part]:
    knee = (hip[0] + foot[0]) / 2 + 0.03, (hip[1] + foot[1]) / 2
    return [
        Part(tube([hip, knee, foot], (width * 1.5, width, width * 0.75)), fur),
        Part(ellipse(foot[0] + 0.02, foot[1], width * 0.5, width * 0.4), shoe),
    ]


def _legs(
    dice: Dice, xs: Point, hip: Number, foot: Number, width: Number, fur: Colour, shoe: Colour
) -> tuple[list[Part], list[Part]]:
    """The two far legs, in shade, and the two near ones."""
    far, near = [], []
    for x in xs:
        swing = dice.uniform(-0.14, 0.14)
        away = x + 0.1 - swing, foot - 0.04
        far += _leg((x + 0.05, hip), away, width, shade(fur, 0.68), shade(shoe, 0.8))
        near += _leg((x, hip), (x + swing, foot), width, fur, shoe)
    return far, near


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
        coat(tube([(0.32, -0.05), (x - 0.08, y + 0.1)], (0.42, 0.34)), fur),
        *near,
        coat(blob("-68 -18  -30 -29  20 -29  52 -15  48 23  10 28  -30 22  -68 19"), fur),
        Part(snout, mix(fur, WHITE, 0.3), "long-snout"),
        Part(ribbon(x + 0.2, y + 0.17, x + 0.44, y + 0.18, 0.025), BLACK, "long-snout"),
        Part(ellipse(x + 0.48, y + 0.07, 0.07, 0.06), BLACK, "long-snout"),
        coat(ellipse(x - 0.03, y - 0.03, 0.25, 0.23), fur),
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
        parts += spots(dice, (-0.65, 0.65), (-0.3, 0.25), 0.1, ink)
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
        coat(blob("-74 -16  -35 -27  15 -24  50 -20  50 20  10 29  -35 25  -72 21"), fur),
        coat(tube([(0.3, 0), (0.5, -0.42), (x - 0.04, y + 0.06)], (0.5, 0.32, 0.24)), fur),
        Part(blob("-12 0  -6 -24  4 -4", (x, y)), shade(fur, 0.8), "ears"),
        Part(blob("-2 0  8 -22  12 2", (x, y)), fur, "ears"),
        coat(tube(head, (0.26, 0.23, 0.17)), fur, "long-snout"),
        Part(ellipse(x + 0.4, y + 0.48, 0.11, 0.1), mix(fur, BLACK, 0.55), "long-snout"),
        Part(ellipse(x + 0.08, y + 0.1, 0.035, 0.04), BLACK),
        Part(tube(crest, (0.12, 0.2, 0.24, 0.12)), hair, "mane"),
    ]
    if zebra:
        ink = BLACK if is_light(fur) else mix(fur, WHITE, 0.7)
        parts += _stripes(dice, [-0.75 + 0.145 * k for k in range(13)], 0.065, ink)
    return parts, "hairy tall"


def _stripes(dice: Dice, xs: Sequence[Number], width: Number, ink: Colour) -> list[Part]:
    return [
        mark(tube([(x, -0.9), (x + dice.uniform(-0.05, 0.1), 0), (x, 0.9)], (width,) * 3), ink)
        for x in xs
    ]


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
        coat(blob("-58 -16  -20 -22  15 -24  42 -14  40 17  5 22  -25 18  -58 19"), fur),
        coat(tube([(0.26, 0), (0.38, -0.35), (x, y)], (0.36, 0.22, 0.19)), fur),
        Part(tube([(0.42, 0.02), (0.47, -0.25)], (0.14, 0.08)), pale),
        *_antlers(dice, x, y - 0.08),
        Part(blob("-6 -2  -34 -18  -10 -16", (x, y)), shade(fur, 0.8), "ears"),
        Part(muzzle, fur, "long-snout"),
        Part(ellipse(x + 0.36, y + 0.11, 0.055, 0.05), BLACK, "long-snout"),
        Part(ellipse(x + 0.08, y - 0.02, 0.04, 0.045), BLACK),
    ]
    if spotted:
        parts += spots(dice, (-0.55, 0.35), (-0.18, 0.05), 0.045, pale)
    return parts, "hairy tall"


def _antlers(dice: Dice, x: Number, y: Number) -> list[Part]:
    bone, reach = dice.colour(((0.8, 0.7, 0.52), (0.5, 0.38, 0.26))), dice.uniform(0.45, 0.58)
    parts = []
    for side, ink in zip((-1, 1), (shade(bone, 0.75), bone), strict=True):
        fork = x + side * 0.3, y - reach * 0.45
        beam = [(x + side * 0.03, y), fork, (x + side * 0.34, y - reach)]
        inner = [fork, (x + side * 0.06, y - reach * 0.8)]
        outer = [(x + side * 0.22, y - reach * 0.25), (x + side * 0.52, y - reach * 0.5)]
        parts.append(Part(tube(beam, (0.09, 0.08, 0.06)), ink, "horns"))
        parts += [Part(tube(tine, (0.075, 0.05)), ink, "horns") for tine in (inner, outer)]
    return parts
