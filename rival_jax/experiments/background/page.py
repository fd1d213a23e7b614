"""The page of backgrounds and objects taken away: tables, figure 8, all treatments, photos."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rival_jax.configs.background import Config
from rival_jax.report.document import Document
from rival_jax.report.grids import Shown, contact
from rival_jax.report.results import Results, Row
from rival_jax.report.tables import counted, percent
from rival_jax.report.words import Words

WORDS = Words(__package__)
HEADS = WORDS.titles("heads")
LOST = ("accuracy", "accuracy_drop", "probability")


def page(config: Config, results: Results, shown: Callable[[], Shown]) -> Document:
    """All results, and the photos as they were shown."""
    levels, models = results.where(contrast=""), results.of("model")
    accuracy, c = levels.where(measure="accuracy"), config.ablation
    regions = [r for r in ("background", "foreground") if r in levels.of("region")]
    told = {"grey": c.grey, "sigma": 100 * c.blur, "patches": c.patches}
    done = (WORDS.text(name, **told) for name in levels.of("treatment") if name != "none")
    told = {"done": "; ".join(done), "masks": WORDS.text(config.data.mask)}
    told |= {"head": levels.of("head")[0], "pairs": [f"minus {model}" for model in models]}
    lost = [t for r in regions for t in WORDS.tables(results, *LOST, region=r)]
    pictures = {"photos": lambda: contact(shown(), ("class", "example"))}
    named = results.changed(lambda row: {**row, "shown": _setting(row)})
    first = WORDS.sections(results, told, "lost", tables={"lost": lost})
    confidence = config.statistics.confidence
    return WORDS.document(
        told,
        subtitle=f"{counted(len(models), 'model')}, {counted(levels.rows[0]['images'], 'image')}",
        headline=headline(accuracy, regions),
        sections=[
            *first,
            *WORDS.sections(named, told, "compared", confidence=confidence),
            *WORDS.sections(results, told, "photos", pictures=pictures),
        ],
    )


def headline(accuracy: Results, regions: Sequence[str]) -> list[str]:
    """One sentence for each model and head: without background against without object."""
    treatment = next(name for name in accuracy.of("treatment") if name != "none")
    sentences = []
    for model in accuracy.of("model"):
        for head in accuracy.where(model=model).of("head"):
            mine = accuracy.where(model=model, head=head)
            told = " and ".join(
                f"{percent(mine.one(treatment=treatment, region=region))} % with the {region} "
                "treated"
                for region in regions
            )
            named = f"{model} ({HEADS.get(head, head + ' head')})"
            clean = percent(mine.one(treatment="none"))
            sentences.append(f"{named}: {clean} % accuracy on the photos, {told} ({treatment}).")
    return sentences[:8]


def _setting(row: Row) -> str:
    if row.get("treatment") in (None, "none"):
        return "photo"
    return " ".join(row[name] for name in ("treatment", "region") if row.get(name))
