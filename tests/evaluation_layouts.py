"""Evaluation sets as they are laid out, drawn small, in folders and archives."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from rival_jax.data import class_maps
from tests.pictures import photo

METADATA = (
    "image_id,x_coord,y_coord,area,rotation,foreground_class,foreground_instance,background,"
    "bg_resolution_width,bg_resolution_height,pct_inside_image"
)


def encoded(seed: int = 0, form: str = "JPEG", size: tuple[int, int] = (12, 10)) -> bytes:
    """A small picture's file."""
    file = io.BytesIO()
    photo(seed, size).save(file, form)
    return file.getvalue()


def lay(root: Path, names: Iterable[str], content: bytes | Mapping[str, bytes] = b"") -> Path:
    """Writes files below a folder, all alike or by name; names of text hold it."""
    content = content or encoded()
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content[name] if isinstance(content, Mapping) else content)
    return root


def tar_of(path: Path, files: Mapping[str, bytes]) -> Path:
    """A tar of files in the order that they are given."""
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def zip_of(path: Path, files: Mapping[str, bytes]) -> Path:
    """A zip of files, every other one deflated."""
    with zipfile.ZipFile(path, "w") as archive:
        for i, (name, content) in enumerate(files.items()):
            archive.writestr(name, content, zipfile.ZIP_DEFLATED if i % 2 else zipfile.ZIP_STORED)
    return path


def framed() -> bytes:
    """Noise with a red frame of 2 pixels, as ObjectNet's photos have one."""
    pixels = np.random.default_rng(0).integers(0, 200, (14, 16, 3), np.uint8)
    pixels[:2] = pixels[-2:] = pixels[:, :2] = pixels[:, -2:] = (255, 0, 0)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def objectnet(root: Path) -> Path:
    """Every folder of ObjectNet with one photo, and the mappings beside them."""
    names = [f"objectnet-1.0/images/{one.folder}/a1.png" for one in class_maps.objectnet()]
    lay(root, names, framed())
    lay(root, ["objectnet-1.0/mappings/folder_to_objectnet_label.json"], b"{}")
    return root


def siscore(root: Path, rows: Mapping[str, str], own: str = "0,koala\n7,banana\n") -> Path:
    """A set of SI-Score: lines of metadata.csv by picture, "" for a picture without one."""
    lay(root, rows)
    lines = [METADATA, *(line for line in rows.values() if line)]
    lay(root, ["metadata.csv"], "\n".join(lines).encode())
    lay(root, ["backgrounds.csv"], b"int,label\n0,x.jpg")
    lay(root, ["foreground_classes.csv"], b"int,label\n105,koala")
    lay(root, ["foreground_classes_metadata_indices.csv"], f"int,label\n{own}".encode())
    return root
