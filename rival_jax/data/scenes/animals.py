"""Cat, frog and bird: functions of dice, each `-> (parts, attributes of the whole)`."""

from __future__ import annotations

from rival_jax.data.scenes.shapes import (
    BLACK,
    BRIGHT,
    NATURAL,
    PINK,
    WHITE,
    Colour,
    Dice,
    Number,
    Part,
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
IRISES: tuple[Colour, ...] = ((0.95, 0.8, 0.2), (0.45, 0.8, 0.3), (0.35, 0.65, 0.95))
BILLS: tuple[Colour, ...] = ((0.95, 0.65, 0.15), (0.3, 0.28, 0.28), (0.9, 0.4, 0.2))
SIDES = (-1, 1)


def cat(dice: Dice) -> Drawing:
    """Sitting, face to the camera, tail around the side; tabby every other time."""
    fur, tabby, hook = dice.colour(NATURAL), dice.chance(0.5), dice.uniform(-0.35, 0.25)
    pale, x = mix(fur, WHITE, 0.45), dice.uniform(-0.12, 0.05)
    tail = [(0.35, 0.75), (0.75, 0.7), (0.85, 0.3), (0.72, hook)]
    parts = [
        Part(tube(tail, (0.2, 0.17, 0.15, 0.12)), shade(fur, 0.72), "tail"),
        coat(blob("-27 -30  18 -30  42 20  55 70  30 90  -30 90  -52 70  -42 20"), fur),
        Part(ellipse(x, 0.2, 0.2, 0.38), pale),
        coat(ellipse(0.36, 0.75, 0.22, 0.2), shade(fur, 0.9)),
        coat(ellipse(-0.36, 0.75, 0.2, 0.2), shade(fur, 0.9)),
    ]
    for foot in (-0.16, 0.14):
        arm = tube([(x / 2 + foot, 0.3), (foot, 0.84)], (0.17, 0.2))
        parts += [Part(arm, mix(fur, pale, 0.3)), Part(ellipse(foot, 0.87, 0.13, 0.08), pale)]
    ink = shade(fur, 0.5) if is_light(fur) else mix(fur, WHITE, 0.3)
    for side in SIDES if tabby else ():
        for row in range(4):
            y = 0.24 * row - 0.05
            parts.append(mark(tube([(side * 0.6, y), (side * 0.24, y + 0.1)], (0.1, 0.06)), ink))
    x += dice.uniform(-0.1, 0.1)
    for shift in (-0.16, 0.0, 0.16) if tabby else ():
        brow = [(x + shift, -0.9), (x + shift * 0.8, -0.66)]
        parts.append(mark(tube(brow, (0.07, 0.05)), ink))
    return parts + _cat_head(dice, x, -0.5, fur, pale), "hairy"


def _cat_head(dice: Dice, x: Number, y: Number, fur: Colour, muzzle: Colour) -> list[Part]:
    iris, tall = dice.choice(IRISES), dice.uniform(0.46, 0.56)
    ears, face = [], [coat(ellipse(x, y, 0.45, 0.36), fur)]
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


def frog(dice: Dice) -> Drawing:
    """Squatting, face to the camera: eyes on top, wide mouth, folded hind legs, wet skin."""
    skin, iris, spotted = dice.colour(NATURAL + BRIGHT), dice.choice(IRISES), dice.chance(0.5)
    belly, dark, arm = mix(skin, (0.97, 0.95, 0.75), 0.6), shade(skin, 0.7), shade(skin, 0.88)
    wide, hind, front = dice.uniform(0.56, 0.66), [], []
    for side in SIDES:
        shin, elbow = side * 0.95, side * 0.36
        hind += [
            coat(ellipse(side * 0.68, 0.3, 0.25, 0.42, turn=side * 0.5), dark),
            Part(tube([(side * 0.55, 0.62), (side * 1.02, 0.66)], (0.16, 0.1)), dark),
            *(Part(ribbon(shin, 0.66, side * 1.12, 0.66 + d, 0.06), dark) for d in (-0.1, 0, 0.1)),
        ]
        fore = [(side * 0.4, 0.3), (side * 0.42, 0.55), (elbow, 0.72)]
        front += [
            Part(tube(fore, (0.2, 0.14, 0.12)), arm),
            *(Part(ribbon(elbow, 0.7, elbow + d, 0.82, 0.06), arm) for d in (-0.14, 0, 0.14)),
            coat(ellipse(elbow, -0.4, 0.21, 0.21), skin),
            Part(ellipse(elbow, -0.41, 0.145, 0.145), iris, "colored-eyes"),
            Part(ellipse(elbow, -0.41, 0.1, 0.05), BLACK, "colored-eyes"),
            Part(ellipse(side * 0.08, -0.16, 0.025, 0.02), BLACK),
        ]
    mouth = [(-wide * 0.75, -0.04), (0, 0.08), (wide * 0.75, -0.04)]
    parts = [
        *hind,
        coat(ellipse(0, 0.22, wide, 0.48), skin),
        Part(ellipse(0, 0.38, wide * 0.62, 0.3), belly),
        coat(ellipse(0, -0.1, wide * 0.98, 0.32), skin),
        *front,
        Part(tube(mouth, (0.04, 0.05, 0.04)), mix(skin, BLACK, 0.65)),
    ]
    if spotted:
        ink = shade(skin, 0.5) if is_light(skin) else mix(skin, (0.95, 0.85, 0.3), 0.6)
        parts += spots(dice, (-0.85, 0.85), (-0.35, 0.5), 0.07, ink)
    glints = ((-0.2, -0.28), (0.12, -0.3), (-0.72, 0.1), (0.7, 0.1))
    return parts + [mark(ellipse(*at, 0.09, 0.03), WHITE, "wet") for at in glints], "wet"


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
