"""Finding what TFDS has prepared, and the error if it has not."""

from __future__ import annotations

import difflib
import pkgutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rival_jax.runtime.plugins import no_such

PREPARE = {
    "rival10": "python -m rival_jax.data.rival10_tfds --root=path/to/RIVAL10 --data_dir={folder}"
}
PREPARE_OTHER = (
    'python -c "import tensorflow_datasets as tfds; '
    "tfds.builder({name!r}, data_dir={folder!r}, file_format='array_record')"
    '.download_and_prepare()"'
)


DEPTHS = ("*/*/features.json", "*/*/*/features.json")  # below DATA_DIR: NAME/[CONFIG/]VERSION


def prepared(name: str, root: Path) -> Any:
    """TFDS's builder of a prepared data set, which reads its files and never downloads.

    Raises:
      ValueError: as `load` of the package does.
    """
    try:
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core import constants, read_only_builder
    except ImportError as error:
        raise ValueError(
            "data tfds needs tensorflow-datasets (not TensorFlow): pip install 'rival_jax[tfds]'"
        ) from error
    own = root == Path() and not (root / _base(name)).is_dir()
    folder = Path(constants.DATA_DIR).expanduser() if own else root
    try:
        builder = read_only_builder.builder_from_files(name, data_dir=folder)
    except tfds.core.DatasetNotFoundError as error:
        raise ValueError(_not_prepared(name, folder, Path(tfds.__file__).parent)) from error
    stored = builder.info.file_format
    if stored != tfds.core.FileFormat.ARRAY_RECORD:
        raise ValueError(
            f"data tfds: {name} in {folder} is prepared as {stored and stored.value}, which "
            "has no random access; prepare it in another folder with\n  " + _command(name, "DIR")
        )
    return builder


def parser(features: Any, keys: list[str]) -> Callable[[bytes], Mapping[str, Any]]:
    """Reads some features of a record without decoding pictures."""
    from tensorflow_datasets.core import example_parser

    info = features.get_serialized_info()
    return example_parser.ExampleParserNp({key: info[key] for key in keys}).parse_example


def _not_prepared(name: str, folder: Path, package: Path) -> str:
    base = _base(name)
    there = sorted({_called(path) for depth in DEPTHS for path in folder.glob(depth)})
    known = [module.name for module in pkgutil.iter_modules([str(package / "datasets")])]
    known += [path.stem for path in package.glob("image_classification/*.py")]
    known += list(PREPARE)
    said = f"data tfds: {name!r} is not prepared in {folder} (prepared: {', '.join(there) or '-'})"
    if base in known:
        return f"{said}; do it with\n  {_command(name, str(folder))}"
    near = difflib.get_close_matches(base, [*there, *known], n=3, cutoff=0.6)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"{said}, nor is it a name that TFDS knows{hint}"


def _called(features_file: Path) -> str:
    """DATA_DIR/NAME/CONFIG/VERSION/features.json, or without CONFIG: the name to ask for."""
    parts = features_file.parts[:-2]
    return "/".join(parts[-2:]) if (features_file.parents[2] / ".config").is_dir() else parts[-1]


def _base(name: str) -> str:
    return name.split("/")[0].split(":")[0]


def _command(name: str, folder: str) -> str:
    return PREPARE.get(_base(name), PREPARE_OTHER).format(name=name, folder=folder)


def check_features(
    info: Any, image: str, label: str, mask: str, file_name: str, attributes: bool
) -> None:
    """Raises ValueError for keys of features that are missing or of another kind."""
    from tensorflow_datasets import features as kinds

    wanted = {"image": (image, kinds.Image), "label": (label, kinds.ClassLabel)}
    wanted |= {"mask": (mask, kinds.Image), "file_name": (file_name, kinds.Text)}
    for option, (key, kind) in wanted.items():
        if option == "file_name" and not key:
            continue
        of_kind = [other for other, feature in info.features.items() if isinstance(feature, kind)]
        if key not in of_kind:
            why = " (no object can be told from its background without)" if option == "mask" else ""
            raise ValueError(
                f"data tfds: {info.name}: {option}{why}: a feature of kind {kind.__name__}: "
                f"{no_such(key, of_kind)}; pass --config.data.tfds.{option}"
            )
    if attributes and "attributes" not in info.features:
        raise ValueError(
            f"data tfds: {info.name} has no attribute masks; rival10 and scenes have "
            "(--config.data.tfds.name=rival10 or --config.data.name=scenes)"
        )
