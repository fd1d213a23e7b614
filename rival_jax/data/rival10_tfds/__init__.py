"""RIVAL10 as a TFDS data set, for `data.tfds` and every other reader of TFDS.

    python -m rival_jax.data.rival10_tfds --root=path/to/RIVAL10 --data_dir=path/to/prepared

writes array_record files without TensorFlow, which `tfds build` would need. Photos and object masks
are stored as the bytes of their files and attribute masks as PNG, so no pixel changes.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from rival_jax.data import rival10
from rival_jax.data.checks import report

RELEASED = "_released"  # ends the names of configs with the released code's attribute masks
ON_BAD = ("error", "skip")


def prepare(
    root: Path,
    data_dir: Path,
    *,
    variant: str = "ordinary",
    attribute_masks: str = "clean",
    on_bad: str = "error",
) -> tuple[Path, list[str]]:
    """Writes all existing splits; nothing is left behind on failure.

    Args:
      root, variant, attribute_masks: as for `rival10.load`.
      data_dir: the result is `data_dir`/rival10/CONFIG/VERSION.
      on_bad: "error", or "skip" to leave out unreadable photos and to store photos with unreadable
        attributes without them, as reading the folder with on_bad="skip" would.

    Returns:
      The folder written, and what was skipped.

    Raises:
      ValueError: naming what cannot be read, the folder searched, or a result that exists already.
    """
    if on_bad not in ON_BAD:
        raise ValueError(f"on_bad {on_bad!r}, expected one of {', '.join(ON_BAD)}")
    for split in rival10.splits(root, variant) or ["test"]:  # then the error says where it looked
        rival10.load(root, split, variant=variant, attribute_masks=attribute_masks)
    config = variant + (RELEASED if attribute_masks == "released" else "")
    builder = Rival10(config=config, data_dir=data_dir, file_format="array_record")
    if builder.data_path.exists():
        raise ValueError(f"{builder.data_path} is there already; remove it to prepare it anew")
    builder.on_bad = on_bad
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(manual_dir=root, try_download_gcs=False)
    )
    return Path(builder.data_dir), builder.skipped


class Rival10(tfds.core.GeneratorBasedBuilder):
    """RIVAL10 (Moayeri et al., CVPR 2022), one config per variant and reading of its attributes."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = [  # noqa: RUF012 (TFDS's own way)
        tfds.core.BuilderConfig(name=variant + rule)
        for rule in ("", RELEASED)
        for variant in rival10.VARIANTS
    ]
    MANUAL_DOWNLOAD_INSTRUCTIONS = "manual_dir is the folder RIVAL10 or its parent."
    on_bad = "error"

    def _info(self) -> tfds.core.DatasetInfo:
        entry = {
            "name": tfds.features.ClassLabel(names=(*rival10.ATTRIBUTES, rival10.OBJECT)),
            "present": np.int64,  # the attribute labels, 1 where the object has it
            "changed": np.int64,  # 1 where a variant has it pasted in or cut out
            "mask": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
        }
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=tuple(rival10.SYNSETS)),
            "object_mask": tfds.features.Image(shape=(None, None, 1), encoding_format="jpeg"),
            "file_name": tfds.features.Text(),
            "attributes": tfds.features.Sequence(entry),  # absent ones are left out
            "attribute_fault": tfds.features.Text(),  # why there are none, if unreadable
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="ImageNet photos of ten classes with masks of objects and attributes.",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        self.skipped: list[str] = []
        root = Path(dl_manager.manual_dir)
        config = self.info.config_name or ""
        variant = config.removesuffix(RELEASED)
        rule = "released" if config.endswith(RELEASED) else "clean"
        return {
            split: self._generate_examples(root, split, variant, rule)
            for split in rival10.splits(root, variant)
        }

    def _generate_examples(
        self, root: Path, split: str, variant: str, rule: str
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        plain = rival10.load(root, split, variant=variant)
        whole = rival10.load(root, split, variant=variant, attributes=True, attribute_masks=rule)
        faults = []
        for position, name in enumerate(plain.names):
            attributes, fault = [], ""
            try:
                attributes = _entries(whole[position])
            except (ValueError, OSError) as error:
                fault = str(error)
                faults.append(fault)
            if fault and not _readable(plain, position):
                continue  # else the attributes are at fault
            photo, mask = plain.files(position)
            yield (
                name,
                {
                    "image": photo.read_bytes(),
                    "label": int(plain.labels[position]),
                    "object_mask": mask.read_bytes(),
                    "file_name": name,
                    "attributes": attributes,
                    "attribute_fault": fault,
                },
            )
        if faults and self.on_bad == "error":
            raise ValueError(report(faults, len(plain), "photos", "fix them or pass --on_bad=skip"))
        self.skipped += faults


def _readable(source: rival10.Rival10, position: int) -> bool:
    try:
        return bool(source[position])
    except (ValueError, OSError):
        return False


def _entries(item: dict[str, Any]) -> list[dict[str, Any]]:
    """The attributes of an item that are labelled, changed or masked, each with its mask."""
    entries = []
    for name, present, changed, mask in zip(
        (*rival10.ATTRIBUTES, rival10.OBJECT),
        (*item["attr_labels"], 1),
        (*item["changed_attrs"], 0),
        item["attribute_masks"],
        strict=True,
    ):
        if present or changed or mask.getbbox():
            entry = {"name": name, "present": int(present), "changed": int(changed)}
            entries.append(entry | {"mask": _png(mask)})
    return entries


def _png(mask: Image.Image) -> bytes:
    file = io.BytesIO()
    mask.save(file, "PNG")
    return file.getvalue()
