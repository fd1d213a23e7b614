"""python -m rival_jax.data.rival10_tfds: RIVAL10 from its folder to a prepared TFDS data set."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from rival_jax.data import rival10
from rival_jax.data.rival10_tfds import ON_BAD, prepare


def main() -> None:
    """Prepares what the command line names and says how to read it."""
    parser = argparse.ArgumentParser(prog="rival_jax.data.rival10_tfds", description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="RIVAL10's folder or its parent")
    parser.add_argument("--data_dir", type=Path, required=True, help="where TFDS data sets are")
    parser.add_argument("--variant", choices=rival10.VARIANTS, default="ordinary")
    parser.add_argument("--attribute_masks", choices=sorted(rival10.READERS), default="clean")
    parser.add_argument("--on_bad", choices=ON_BAD, default="error")
    options = vars(parser.parse_args())
    root, data_dir = (options.pop(key).expanduser() for key in ("root", "data_dir"))
    try:
        written, skipped = prepare(root, data_dir, **options)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    for fault in skipped:
        print(f"skipped: {fault}")
    name = "/".join(written.parts[-3:-1])
    print(f"prepared {written}; read it with --config.data.name=tfds")
    print(f"  --config.data.root={data_dir} --config.data.tfds.name={name}")


if __name__ == "__main__":
    main()
