"""Truck, car, plane and ship: functions of dice, each `-> (parts, attributes of the whole)`."""

from __future__ import annotations

from rival_jax.data.scenes.shapes import (
    BLACK,
    BRIGHT,
    GLASS,
    NATURAL,
    WHITE,
    Colour,
    Dice,
    Number,
    Part,
    blob,
    box,
    ellipse,
    is_light,
    mix,
    polygon,
    ribbon,
    shade,
    sign,
    tube,
)

Drawing = tuple[list[Part], str]
PAINTS = NATURAL[:7] + BRIGHT
RUBBER: Colour = (0.13, 0.13, 0.14)
STEEL: Colour = (0.72, 0.74, 0.77)
LAMP: Colour = (1.0, 0.94, 0.65)


def _wheel(x: Number, y: Number, radius: Number) -> list[Part]:
    rims = ((1.0, RUBBER), (0.55, STEEL), (0.2, RUBBER))
    return [Part(ellipse(x, y, radius * r, radius * r), tone, "wheels") for r, tone in rims]


def truck(dice: Dice) -> Drawing:
    """A cab and a cargo box, lettered or ribbed."""
    cab, cargo = dice.colour(PAINTS), dice.colour(PAINTS)
    rear, top, nose = dice.uniform(-1.1, -0.9), dice.uniform(-0.75, -0.5), dice.uniform(0.84, 0.95)
    radius, side = dice.uniform(0.15, 0.2), "rectangular metallic"
    hood = ((nose - 0.18, -0.38), (nose, 0.02), (1.0, 0.06), (1.0, 0.38))
    parts = [
        Part(box(rear, 0.3, 0.95, 0.42), shade(STEEL, 0.5)),
        Part(box(rear, top, 0.38, 0.33), cargo, side),
        Part(box(rear, top, 0.38, top + 0.07), mix(cargo, WHITE, 0.4), side),
        Part(box(rear, 0.25, 0.38, 0.33), shade(cargo, 0.7), side),
        Part(polygon((0.43, 0.38), (0.43, -0.38), *hood), cab, "metallic"),
        Part(polygon((0.56, 0), (0.56, -0.29), (nose - 0.21, -0.29), (nose - 0.08, 0)), GLASS),
        Part(box(0.5, 0.1, 0.62, 0.14), shade(cab, 0.6), "metallic"),
        Part(box(0.43, 0.28, 1.04, 0.38), shade(STEEL, 0.8), "metallic"),
        Part(ellipse(0.95, 0.17, 0.05, 0.06), LAMP),
    ]
    if dice.chance(0.75):
        panel = shade(cargo, 0.45) if is_light(cargo) else mix(cargo, WHITE, 0.75)
        width = dice.uniform(0.75, 1.0)
        parts += sign(dice, (rear + 0.38) / 2, (top + 0.22) / 2, width, 0.42, panel)
    else:
        for share in (0.2, 0.4, 0.6, 0.8):
            x = rear + share * (0.38 - rear)
            parts.append(Part(box(x - 0.02, top + 0.08, x + 0.02, 0.25), shade(cargo, 0.75), side))
    for x in (rear + 0.25, rear + 0.25 + 2.2 * radius, 0.7):
        parts += _wheel(x, 0.42, radius)
    return parts, "long"


def car(dice: Dice) -> Drawing:
    """A saloon or hatchback: the rear window's slope varies."""
    paint, pane = dice.colour(PAINTS), shade(GLASS, dice.uniform(0.6, 1.0))
    roof, front, back = (
        dice.uniform(-0.52, -0.4),
        dice.uniform(0.42, 0.6),
        dice.uniform(-0.9, -0.6),
    )
    fore, aft, radius = (
        dice.uniform(0.08, 0.22),
        dice.uniform(-0.6, -0.35),
        dice.uniform(0.19, 0.23),
    )
    rear = ((back + 0.12, 0), (aft + 0.05, roof + 0.08), (-0.16, roof + 0.08), (-0.16, 0))
    lead = ((-0.08, 0), (-0.08, roof + 0.08), (fore - 0.03, roof + 0.08), (front - 0.13, 0))
    body = blob("-100 2  -50 -6  45 -6  90 7  102 24  95 40  -95 40  -103 20")
    metal = "metallic"
    parts = [
        Part(polygon((back, 0.04), (aft, roof), (fore, roof), (front, 0.04)), paint, metal),
        Part(polygon(*rear), pane),
        Part(polygon(*lead), pane),
        Part(body, shade(paint, 0.94), metal),
        Part(
            tube([(-0.95, 0.1), (0, 0.06), (0.9, 0.14)], (0.05,) * 3), mix(paint, WHITE, 0.5), metal
        ),
        Part(ribbon(-0.12, 0, -0.12, 0.32, 0.03), shade(paint, 0.6), metal),
        Part(box(-0.32, 0.13, -0.2, 0.17), shade(paint, 0.5), metal),
        Part(box(-0.98, 0.33, 0.98, 0.42), shade(paint, 0.45), metal),
        Part(ellipse(0.93, 0.17, 0.07, 0.05), LAMP),
        Part(ellipse(-0.98, 0.15, 0.05, 0.06), (0.8, 0.1, 0.1)),
    ]
    if dice.chance(0.25):
        parts += sign(dice, 0.15, 0.21, 0.45, 0.2, WHITE)
    for x in (-0.6, 0.58):
        parts.append(Part(ellipse(x, 0.37, radius * 1.2, radius * 1.2), shade(paint, 0.4), metal))
        parts += _wheel(x, 0.41, radius)
    return parts, ""


def plane(dice: Dice) -> Drawing:
    """An airliner in flight, nose ahead, sometimes with its wheels down."""
    paint, trim = dice.colour(PAINTS), dice.colour(PAINTS)
    girth, sweep, reach = (
        dice.uniform(0.3, 0.38),
        dice.uniform(-0.55, -0.3),
        dice.uniform(0.5, 0.65),
    )
    metal, wing, far, near = "metallic", "metallic wings", shade(paint, 0.72), shade(paint, 0.85)
    spine = [(-1.08, -0.08), (-0.7, 0), (0, 0.02), (0.6, 0.02), (0.96, 0.06)]
    tips = ((sweep - 0.16, reach), (sweep + 0.1, reach))
    fin = ((-0.55, -0.05), (-0.95, -0.62), (-1.18, -0.62), (-1.02, 0))
    parts = [
        Part(polygon((0.3, -0.05), (0, -0.05), (sweep, -0.62), (sweep + 0.2, -0.62)), far, wing),
        Part(polygon((-0.75, -0.08), (-0.95, -0.08), (-1.12, -0.32), (-0.97, -0.32)), far, wing),
        Part(polygon(*fin), trim, "metallic tail"),
        Part(tube(spine, (0.1, girth * 0.8, girth, girth, 0.16)), paint, metal),
        Part(tube([(-0.9, 0.07), (0, 0.12), (0.9, 0.11)], (0.03, 0.07, 0.05)), trim, metal),
        Part(polygon((0.74, -0.11), (0.9, -0.07), (1.0, 0.02), (0.76, 0.02)), shade(GLASS, 0.6)),
    ]
    parts += [Part(ellipse(x / 10, -0.04, 0.035, 0.04), shade(GLASS, 0.5)) for x in range(-6, 7, 2)]
    if dice.chance(0.35):
        parts += sign(dice, -0.42, -0.05, 0.42, 0.2, mix(paint, WHITE, 0.8))
    if dice.chance(0.35):
        for x in (-0.15, 0.62):
            parts += [Part(ribbon(x, 0.1, x, 0.3, 0.04), shade(STEEL, 0.6)), *_wheel(x, 0.34, 0.08)]
    parts += [
        Part(polygon((0.36, 0.07), (-0.08, 0.07), *tips), near, wing),
        Part(polygon((0.36, 0.07), (0.24, 0.07), tips[1]), mix(paint, WHITE, 0.5), wing),
        Part(tube([(-0.04, 0.35), (0.25, 0.35)], (0.14, 0.17)), shade(trim, 0.9), metal),
        Part(ellipse(0.3, 0.35, 0.035, 0.07), BLACK),
        Part(polygon((-0.68, 0), (-0.92, 0), (-1.2, 0.22), (-1.05, 0.22)), near, wing),
    ]
    return parts, "long"


def ship(dice: Dice) -> Drawing:
    """A steamer, or a sailing boat three times in ten."""
    hull, upper = dice.colour(PAINTS), mix(dice.colour(PAINTS), WHITE, 0.6)
    stern, keel = dice.uniform(-1.0, -0.85), dice.uniform(0.45, 0.58)
    bottom = ((0.85, keel), (stern + 0.1, keel))
    rust = mix(shade(hull, 0.5), (0.4, 0.1, 0.1), 0.5)
    parts = _sails(dice) if dice.chance(0.3) else _decks(dice, upper)
    parts += [
        Part(polygon((stern, 0.05), (0.9, 0.05), (1.15, -0.06), *bottom), hull, "metallic"),
        Part(ribbon(stern, 0.09, 1.0, 0.06, 0.08), mix(hull, WHITE, 0.65), "metallic"),
        Part(polygon((stern + 0.07, keel - 0.13), (0.93, keel - 0.13), *bottom), rust, "wet"),
    ]
    if dice.chance(0.55):
        panel = BLACK if is_light(hull) else mix(hull, WHITE, 0.85)
        parts += sign(dice, 0.4, 0.24, 0.5, 0.2, panel)
    parts += [Part(ellipse(x, 0.22, 0.045, 0.045), GLASS) for x in (-0.7, -0.5, -0.3, -0.1)]
    return parts, "long"


def _decks(dice: Dice, paint: Colour) -> list[Part]:
    funnel = dice.colour(BRIGHT)
    parts = [Part(ribbon(0.5, 0, 0.5, -0.75, 0.04), shade(STEEL, 0.6))]
    for x in (-0.35, 0.05)[: 1 + dice.chance(0.5)]:
        parts += [
            Part(
                polygon((x, -0.35), (x + 0.04, -0.8), (x + 0.24, -0.8), (x + 0.26, -0.35)), funnel
            ),
            Part(box(x + 0.035, -0.8, x + 0.24, -0.7), BLACK),
        ]
    for left, top, right, bottom in ((-0.75, -0.15, 0.65, 0.08), (-0.6, -0.38, 0.48, -0.15)):
        parts.append(
            Part(box(left, top, right, bottom), shade(paint, 0.95 + top / 4), "rectangular")
        )
    for y in (-0.06, -0.28):
        for x in range(-5, 5, 2):
            parts.append(Part(box(x / 10, y - 0.05, x / 10 + 0.1, y + 0.03), shade(GLASS, 0.6)))
    return parts


def _sails(dice: Dice) -> list[Part]:
    cloth = mix(dice.colour(PAINTS), WHITE, 0.6)
    return [
        Part(ribbon(0.05, 0.1, 0.05, -1.1, 0.05), (0.4, 0.28, 0.18), "tall"),
        Part(polygon((0, -1.02), (0, -0.08), (-0.78, -0.08)), cloth, "tall"),
        Part(polygon((0.12, -0.95), (0.12, -0.08), (0.82, -0.08)), shade(cloth, 0.88), "tall"),
        Part(ribbon(-0.48, -0.42, 0, -0.42, 0.05), dice.colour(BRIGHT), "tall"),
    ]
