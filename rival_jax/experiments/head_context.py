"""What heads need from an experiment's data and networks, checked before photos are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rival_jax import configs
from rival_jax.data.source import refuse_other_classes, refuse_overlap, refuse_training
from rival_jax.heads import Context
from rival_jax.runtime.results import cache_folder
from rival_jax.types import Model

if TYPE_CHECKING:
    from rival_jax.experiments.subject import Subject


def context(
    subject: Subject, model: Model, batch_size: Callable[[], int] = lambda: 1, **probe: Any
) -> Context:
    """What the head of a network may need; nothing is read until requested.

    Args:
      batch_size: of forward passes; measured on first use.
      probe: options that replace those in config.probe.
    """
    config, geometry = subject.config, subject.geometry(model)
    source = subject.sources[config.data.split]
    return Context(
        classes=source.classes,
        class_wnids=source.class_wnids,
        geometry=geometry,
        train=lambda: subject.examples(geometry, config.data.train_split),
        test=lambda: subject.examples(geometry),
        batch_size=batch_size,
        options={"mask": config.data.mask, **configs.options(config, "probe"), **probe},
        cache=cache_folder(config.cache),
        mesh=subject.mesh,
        sharding=subject.sharding,
        report=subject.console.print,
        note=subject.note,
    )


def check_splits(subject: Subject) -> None:
    """Raises ValueError unless a head fitted on the training split can be scored on the other."""
    names = tuple(str(getattr(subject.config.data, key)) for key in ("train_split", "split"))
    train, test = (subject.sources[name] for name in names)
    refuse_training(train, "fit heads on")
    if configs.options(subject.config, "probe").get("select") == "test":
        refuse_training(test, "select heads by")
    if names[0] == names[1]:
        subject.note(
            f"Heads are fitted on split {names[0]!r} and scored on the same photos, so accuracies "
            "are too high. Name another --config.data.train_split."
        )
    else:
        cure = "Give the data two splits, or pass --config.head=imagenet or own"
        why = f"a head would be scored on what it was fitted to. {cure}"
        refuse_overlap(train.names, test.names, (repr(names[0]), repr(names[1])), why)
    splits = f"{names[0]!r}, which the head is fitted on,", repr(names[1])
    refuse_other_classes(train, test, splits, "or pass --config.head=imagenet or own")
