"""A data set decoded, resized, checked and cut into batches."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from rival_jax.data import checks
from rival_jax.data.pixels import Pixels, Read, batch_of, digests, fingerprint, read_pixels
from rival_jax.data.remarks import sentences
from rival_jax.data.rounds import cut, shuffled, turned
from rival_jax.data.shard import threaded
from rival_jax.data.source import Item, Source, attributes_of, check_names, name_hash, noise_id
from rival_jax.data.transforms import AUGMENTATIONS, check_geometry
from rival_jax.runtime import hosts
from rival_jax.runtime.plugins import no_such
from rival_jax.types import Batch, Geometry

ON_BAD = ("error", "skip")
MASKS = ("soft", "binary", "labelled")
HELD_GIB = 4.0


class Examples:
    """Every example of a source as uint8 pixels in one geometry, in the source's order.

    All examples are decoded and checked on construction, before any model runs. An example is bad
    if its photo or mask is missing or damaged, if the photo's colours are not known, if the two
    differ in shape, if the mask's values are labels, if the resized mask is empty, full or a single
    grey, or if its label is not the position of a class.

    With several hosts, each decodes and holds its share of the source; all else is the same on all.

    Attributes:
      names: list of str [n], of the examples kept, like everything below.
      labels: int32 [n], positions in `classes`.
      noise_ids: uint32 [n], see `noise_id`.
      positions: int32 [n], places in the source.
      classes, class_wnids: the source's.
      skipped: list of (name, reason), the bad examples.
      streamed: if pixels are not held since they are too many, a sentence that says so; else "".
      notices: what a reader must know about the data: what was assumed, what looks doubtful.
      fingerprint: hex digits of a hash of the classes, names, labels and pixels.
      mine: the rows that this host's `batches` have.
      attributes: names of the attributes [a], empty unless their masks are read.
      attribute_labels: int64 [n, a], 1 where an example has the attribute.
      attribute_fingerprint: hex digits of a hash of the attributes' names, labels and masks, on
        which, like on `fingerprint`, the rows of an attribute experiment depend.
    """

    def __init__(
        self,
        source: Source,
        geometry: Geometry,
        *,
        on_bad: str = "error",
        mask: str = "soft",
        attributes: bool = False,
        threads: int | None = None,
        held_gib: float = HELD_GIB,
        on_item: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Reads everything once.

        Args:
          source: see `Source`.
          geometry: see `Geometry`; masks are always resized with the bilinear filter.
          on_bad: "error" reports all bad examples in one ValueError; "skip" leaves them out.
          mask: config.data.mask, how masks will be used, "soft" as they are or "binary" above half:
            an example whose mask then leaves no object or no background is bad. "labelled": the
            nearest pixel's label, 255 on the object and `UNLABELLED` (127) where there is none.
          attributes: whether batches have `attribute_masks`; `source` must then be loaded with
            attributes=True. No pixels are held then: each pass decodes everything again.
          threads: number that decode, default one per processor, at most 16. Results do not depend
            on it.
          held_gib: config.data.held_gib. If this host's pixels are more, they are decoded again in
            every pass, a batch ahead: batches are the same, but `images` and `masks` are
            unavailable.
          on_item: called with (examples read, all examples).

        Raises:
          ValueError: naming the bad examples, or the classes left empty by skipping them; if the
            source has no attributes and they are asked for.
        """
        check_geometry(geometry)
        for key, value, known in (("on_bad", on_bad, ON_BAD), ("mask", mask, MASKS)):
            if value not in known:
                raise ValueError(f"{key} {value!r}, expected one of {', '.join(known)}")
        check_names(source)
        self.attributes = attributes_of(source) if attributes else ()
        self._source, self._geometry, self._mask = source, geometry, mask
        self._threads = threads or min(16, os.cpu_count() or 1)
        self.classes, self.class_wnids = source.classes, source.class_wnids
        self.skipped: list[tuple[str, str]] = []
        self._remarks: Counter[str] = Counter()
        share = hosts.shares(len(source))[hosts.index()]
        size = len(share) * 4 * geometry.size[0] * geometry.size[1]
        held = size <= held_gib * 2**30 and not attributes
        told = f"{size / 2**30:.1f} GiB of pixels are more than config.data.held_gib = {held_gib:g}"
        self.streamed = "" if held or attributes else f"{told}: every pass decodes them again"
        self._pixels, read = self._read_all(share, held, on_item)
        self.positions = self._join(read)
        if self.skipped and on_bad == "error":
            faults = [reason for _, reason in self.skipped]
            cure = f"drop {'it' if len(faults) == 1 else 'them'} or pass {checks.CURE}"
            raise ValueError(checks.report(faults, len(source), "examples", cure))
        said = sentences(self._remarks, len(self.positions), geometry)
        self.notices: list[str] = [*getattr(source, "notices", ()), *said]
        self.names = [source.names[i] for i in self.positions]
        self.labels = np.asarray(source.labels, np.int32)[self.positions]
        self.noise_ids = np.array([noise_id(name) for name in self.names], np.uint32)
        self._check_classes()

    def __len__(self) -> int:
        return len(self.names)

    @property
    def images(self) -> np.ndarray:
        """uint8 [n, h, w, 3], of the rows `mine`. Raises ValueError if they are not held."""
        return self._held()[0]

    @property
    def masks(self) -> np.ndarray:
        """uint8 [n, h, w], 255 on the object. Raises ValueError like `images`."""
        return self._held()[1]

    def example(self, row: int) -> Item:
        """`image` uint8 [h, w, 3], `mask` uint8 [h, w], `label` and `name` of one example.

        With attributes also `attribute_masks`, uint8 [a, h, w].
        """
        pixels = self._row(row)
        item: Item = {"image": pixels.image, "mask": pixels.mask}
        if self.attributes:
            item["attribute_masks"] = pixels.attribute_masks
        return item | {"label": int(self.labels[row]), "name": self.names[row]}

    def batches(
        self, batch_size: int, dtype: Any = jnp.float32, *, everywhere: bool = False
    ) -> Iterator[Batch]:
        """All examples in order; the last batch is padded with its row 0, at `index` -1.

        With several hosts these are this host's part of each batch (the rows `mine`): all have
        equally many batches of equal size, padded in the same way.

        Args:
          batch_size: at least 1; over all hosts together.
          dtype: float type of images and masks, whose values are uint8 / 255, in [0, 1]; or uint8,
            undivided.
          everywhere: every host gets all of each batch.

        With attributes, batches have `attribute_masks` [b, a, h, w] too: all 0 where absent, soft
        at the rim, so use `> 0.5` for binary masks.
        """
        if everywhere or hosts.count() == 1:
            return self._batches(cut(range(len(self)), batch_size), self._row, batch_size, dtype)
        size = -(-batch_size // hosts.count())
        steps = max(-(-len(rows) // size) for rows in self.rows_of_hosts)
        parts = [self.mine[i * size : (i + 1) * size] for i in range(steps)]
        return self._batches(parts, self._row, size, dtype)

    def augmented_batches(
        self,
        batch_size: int,
        epoch: int,
        seed: int,
        dtype: Any = jnp.float32,
        *,
        first: int = 0,
        augmentation: str = "area",
        shown: int = 0,
        everywhere: bool = False,
    ) -> Iterator[Batch]:
        """All examples shuffled, each cropped and mirrored.

        An example's crop is a function of (seed, epoch, name) alone, the order of (seed, epoch).
        Decodes every photo again. A crop may cut off a small object at the rim entirely. Batches
        are padded as in `batches`, and have no attribute masks. Each host gets a contiguous part.

        Args:
          first: batches before this one are skipped, for restarts.
          augmentation: one of `transforms.AUGMENTATIONS`: "area", 80 to 100 % of the photo (RIVAL10
            study); "square", 7/8 of each side (RobustViT); "mirror", the whole photo.
          shown: images in all, in further rounds if there are fewer; 0: each once.
          everywhere: every host gets all of each batch.
        """
        if augmentation not in AUGMENTATIONS:
            raise ValueError("augmentation: " + no_such(augmentation, AUGMENTATIONS))
        change = AUGMENTATIONS[augmentation]

        def read(place: int) -> Pixels:
            turn, row = divmod(place, len(self))
            item = self._source[int(self.positions[row])]
            words = np.frombuffer(name_hash(self.names[row], 16), "<u4")
            rng = np.random.default_rng([*turned(seed, epoch, turn), *words.tolist()])
            return Pixels(*change(item["image"], item["mask"], self._geometry, rng))

        rows = shuffled(len(self), shown or len(self), seed, epoch)
        batches = cut(rows, batch_size)[first:]
        if not everywhere and hosts.count() > 1:
            batch_size = -(-batch_size // hosts.count())
            start = batch_size * hosts.index()
            batches = [batch[start : start + batch_size] for batch in batches]
        return self._batches(batches, read, batch_size, dtype)

    def _read_all(
        self, share: range, held: bool, on_item: Callable[[int, int], None]
    ) -> tuple[tuple[np.ndarray, np.ndarray] | None, Read]:
        """Reads a share; returns the pixels if they are held, and facts about the good examples."""
        source, (height, width) = self._source, self._geometry.size
        images = np.empty((len(share) if held else 0, height, width, 3), np.uint8)
        masks = np.empty((len(share) if held else 0, height, width), np.uint8)
        rows: list[tuple[int, bytes, bytes, np.ndarray | None]] = []
        for position, pixels in zip(share, threaded(self._read, share, self._threads), strict=True):
            on_item(position - share.start + 1, len(share))
            if isinstance(pixels, str):
                self.skipped.append((source.names[position], pixels))
                continue
            if held:
                images[len(rows)], masks[len(rows)] = pixels.image, pixels.mask
            found = digests(source.names[position], int(source.labels[position]), pixels)
            rows.append((position, *found, pixels.attribute_labels))
            self._remarks.update(pixels.remarks)
        kept = (images[: len(rows)], masks[: len(rows)]) if held else None
        return kept, Read.of(rows, len(self.attributes))

    def _join(self, mine: Read) -> np.ndarray:
        """Collects the other hosts' examples; returns the good positions of all."""
        said = hosts.gathered([len(mine.position), self.skipped, dict(self._remarks)])
        ends = np.cumsum([0, *(count for count, _, _ in said)]).tolist()
        self.rows_of_hosts = [range(*pair) for pair in itertools.pairwise(ends)]
        self.mine = self.rows_of_hosts[hosts.index()]
        self.skipped = [(name, reason) for _, some, _ in said for name, reason in some]
        self._remarks = sum((Counter(counts) for _, _, counts in said), Counter())
        read = Read(**hosts.gathered_rows(mine._asdict()))
        self.fingerprint = fingerprint(self.classes, self._geometry, read.pixels)
        self.attribute_fingerprint = (
            fingerprint(self.attributes, self._geometry, read.attributes) if self.attributes else ""
        )
        self.attribute_labels = read.labels
        return read.position

    def _read(self, position: int) -> Pixels | str:
        """The pixels of one example of the source, or what is wrong with it."""
        try:
            attributes = bool(self.attributes)
            return read_pixels(self._source, position, self._geometry, attributes, self._mask)
        except (ValueError, OSError) as error:
            return str(error)

    def _row(self, row: int) -> Pixels:
        """The pixels of any row, held or read again."""
        if self._pixels is not None and row in self.mine:
            return Pixels(*(held[row - self.mine.start] for held in self._pixels))
        pixels = self._read(int(self.positions[row]))
        if isinstance(pixels, str):
            raise ValueError(f"{pixels}; it was well when the data set was checked")
        return pixels

    def _held(self) -> tuple[np.ndarray, np.ndarray]:
        if self._pixels is None and self.attributes:
            raise ValueError("with attributes no pixels are held: use batches() or example(row)")
        if self._pixels is None:
            raise ValueError(f"{self.streamed}: use batches(), or raise that key")
        return self._pixels

    def _batches(
        self, parts: list[Any], read: Callable[[int], Pixels], batch_size: int, dtype: Any
    ) -> Iterator[Batch]:
        """A batch of `batch_size` for each part (a sequence of rows, perhaps empty)."""
        if batch_size < 1:
            raise ValueError(f"batch_size {batch_size}, expected at least 1")
        if not jnp.issubdtype(dtype, jnp.floating) and dtype != np.uint8:
            raise ValueError(f"dtype {dtype}, expected a float type or uint8")
        shown = [row for part in parts for row in (part or (0,))]  # if empty: row 0, as padding
        held = self._pixels is not None and read == self._row and set(shown) <= set(self.mine)
        pixels = map(read, shown) if held else threaded(read, shown, self._threads, batch_size)
        known, rows = (self.labels, self.noise_ids), ([i % len(self) for i in p] for p in parts)
        return (batch_of(some, pixels, known, batch_size, dtype) for some in rows)

    def _check_classes(self) -> None:
        lost = set(np.asarray(self._source.labels).tolist()) - set(self.labels.tolist())
        empty = [self.classes[label] for label in sorted(lost) if 0 <= label < len(self.classes)]
        if empty:
            raise ValueError(
                f"no good image is left of class {', '.join(empty)}; "
                f"{len(self.skipped)} bad ones were skipped, the first: {self.skipped[0][1]}"
            )
