"""A folder of masks that were made, beside their photos: what data set `masked_folder` reads."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Container, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from rival_jax.runtime.workdir import atomic

KINDS = ("images", "masks")


@dataclasses.dataclass(frozen=True)
class MaskFolder:
    """masks/CLASS/NAME.png, and images/CLASS/NAME.png if `photos` are written too.

    A file is meant by CLASS/NAME.
    """

    path: Path
    photos: bool = True

    def refuse_others(self, files: Container[str]) -> None:
        """Raises ValueError if it holds masks or photos that are not among `files`."""
        for kind in KINDS:
            there = (self.path / kind).glob("*/*.png")
            other = [file for file in there if f"{file.parent.name}/{file.stem}" not in files]
            if other:
                raise ValueError(
                    f"{self.path} holds {len(other)} {kind} of other photos, such as "
                    f"{other[0].name}: name another --config.output, or remove them"
                )

    def write(self, file: str, photo: Image.Image, mask: np.ndarray | None) -> str:
        """Writes a photo and its mask, bool [h, w]; returns a digest of the mask.

        Without a mask neither file is left, and the digest is "".
        """
        shown = {"images": photo if self.photos else None}
        shown["masks"] = None if mask is None else Image.fromarray(np.uint8(255) * mask)
        for kind, picture in shown.items():
            target = self.path / kind / f"{file}.png"
            if mask is None:
                target.unlink(missing_ok=True)
            elif picture:
                with atomic(target) as partial:
                    picture.save(partial, "PNG")
        return "" if mask is None else _digest(mask)

    def intact(self, written: Iterable[tuple[str, str]]) -> bool:
        """Whether all of some files are as they were written: (file, digest of its mask) each."""
        return all(self._is(file, digest) for file, digest in written)

    def _is(self, file: str, digest: str) -> bool:
        photo, mask = (self.path / kind / f"{file}.png" for kind in KINDS)
        if not digest:
            return not mask.exists()
        try:
            with Image.open(mask) as picture:
                same = _digest(np.asarray(picture) > 0) == digest
        except (OSError, SyntaxError, ValueError):  # missing, or damaged
            return False
        return same and (photo.exists() or not self.photos)

    def tidy(self) -> None:
        """Removes folders of classes without a file."""
        for folder in (path for kind in KINDS for path in (self.path / kind).glob("*/")):
            if not any(folder.iterdir()):
                folder.rmdir()


def _digest(mask: np.ndarray) -> str:
    return hashlib.blake2b(np.packbits(mask).tobytes(), digest_size=8).hexdigest()
