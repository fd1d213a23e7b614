"""Finished runs that were damaged: does the same command mend them, or say what is wrong?

  python -m benchmarks.damage

Each kind of damage is done to a copy of a finished run on bundled data, in the place where it was
made, and the command that made it is given again. It must end with the undisturbed bytes, in rows,
summaries, tables, figures and weights; or refuse, in one line that names the place of the damage.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.interrupts import BAD, start, text

WHOLE = (
    "rows/**/*.parquet",
    "summary.*",
    "tables.*",
    "tables/*",
    "figures/*",
    "units.json",
    "*/*.safetensors",
)


class Damage(NamedTuple):
    """One kind: what it does to a run's folder; it returns the path that a refusal has to name."""

    do: Callable[[Path], Path]
    refused: bool = False  # it cannot be mended, so it has to be refused


def main() -> None:
    """Runs all, prints a line for each; exit code 1 if one ended in another way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--experiment", default="rfs", choices=["rfs", "finetune", "saliency"])
    parser.add_argument("--only", default="", help="kinds that have this in their names")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        calm, run = root / "calm", root / "run"
        code, _, said = again(given.experiment, run, root)
        assert code == 0, said
        run.rename(calm)
        kinds = {name: kind for name, kind in KINDS.items() if given.only in name}
        faults = [
            name for name, kind in kinds.items() if not one(given.experiment, name, kind, root)
        ]
    print(f"{len(kinds)} kinds of damage, {len(faults)} faults: {', '.join(faults) or 'none'}")
    sys.exit(bool(faults))


def one(experiment: str, name: str, kind: Damage, root: Path) -> bool:
    """Damages a copy, runs the command again, says how it ended; whether that was well."""
    calm, run = root / "calm", root / "run"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(calm, run, symlinks=True)
    place = kind.do(run)
    code, took, said = again(experiment, run, root)
    lines = [line for line in said.splitlines() if line.strip()]
    wrong = [word for word in BAD if word in said]
    if code == 0:
        wrong += [f"{file} differs" for file in differing(calm, run)]
        wrong += ["it should have been refused"] * kind.refused
        end = "the undisturbed bytes"
    else:
        named = place.name in said.replace("\n", "")
        wrong += [] if named else [f"the refusal does not name {place.name}"]
        end = f"refused: {lines[-1] if lines else ''}"
    print(
        f"{name}: {end} ({took:.0f} s){''.join(f'; FAULT: {word}' for word in wrong)}", flush=True
    )
    if wrong:
        print("\n".join(lines[-12:]), flush=True)
    return not wrong


def again(experiment: str, run: Path, logs: Path) -> tuple[int, float, str]:
    """Gives the command; its exit code, the seconds it took, and what it printed."""
    began = time.monotonic()
    code = start(experiment, run, logs).wait(1800)
    return code, time.monotonic() - began, text(logs)


def differing(calm: Path, run: Path) -> list[str]:
    """The files of a finished run that are not as they were."""
    left, right = contents(calm), contents(run)
    return [name for name in sorted({*left, *right}) if left.get(name) != right.get(name)]


def contents(folder: Path) -> dict[str, bytes]:
    """All files of results, byte by byte."""
    files = {file for pattern in WHOLE for file in folder.glob(pattern) if file.is_file()}
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def row(run: Path, place: int = 0) -> Path:
    """A file of rows."""
    return sorted((run / "rows").rglob("*.parquet"))[place]


def flip(file: Path, share: float = 0.5) -> Path:
    """One bit, at this share of the file."""
    data = bytearray(file.read_bytes())
    data[int(share * (len(data) - 1))] ^= 4
    file.write_bytes(data)
    return file


def cut(file: Path, share: float = 0.5) -> Path:
    """Leaves this share of the file."""
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    return file


def write(file: Path, data: bytes) -> Path:
    """Other bytes in its place."""
    file.write_bytes(data)
    return file


def gone(path: Path) -> Path:
    """Removes a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    return path


def folder_for(file: Path) -> Path:
    """An empty folder where the file was."""
    file.unlink()
    file.mkdir()
    return file


def full_folder_for(file: Path) -> Path:
    """A folder with somebody's file where the file was."""
    folder_for(file)
    (file / "mine.txt").write_text("mine")
    return file


def link_for(file: Path) -> Path:
    """A link to nothing."""
    file.unlink()
    file.symlink_to(file.parent / "nowhere")
    return file


def exchanged(left: Path, right: Path) -> Path:
    """Two files, each in the other's place."""
    data = left.read_bytes()
    shutil.copy(right, left)
    right.write_bytes(data)
    return left


def changed_number(file: Path) -> Path:
    """Another digit, so that it is still JSON or a table."""
    data = file.read_text()
    place = next(i for i in range(len(data) // 2, len(data)) if data[i] in "012345678")
    file.write_text(data[:place] + str(int(data[place]) + 1) + data[place + 1 :])
    return file


def another_config(file: Path) -> Path:
    """The settings of another run."""
    config = json.loads(file.read_text())
    config["seed"] += 1
    file.write_text(json.dumps(config))
    return file.parent


def file_for(folder: Path) -> Path:
    """A file where a folder was."""
    shutil.rmtree(folder)
    folder.write_text("")
    return folder


def litter(run: Path) -> Path:
    """What a killed process may leave, and an editor."""
    for name in (
        ".partial-1-summary.csv",
        "rows/.partial-2-x.parquet",
        "rows/x.parquet~",
        ".DS_Store",
    ):
        (run / name).write_bytes(b"half")
    return run


def all_rows(run: Path, damage: Callable[[Path], Path]) -> Path:
    """The same damage to every file of rows."""
    for file in sorted((run / "rows").rglob("*.parquet")):
        damage(file)
    return run / "rows"


def all_but_rows_gone(run: Path) -> Path:
    """As after a copy of the rows alone."""
    for path in run.iterdir():
        if path.name != "rows":
            gone(path)
    return run


KINDS = {
    "rows: a flipped bit in the values": Damage(lambda run: flip(row(run), 0.3)),
    "rows: a flipped bit in the last byte": Damage(lambda run: flip(row(run), 1)),
    "rows: cut short": Damage(lambda run: cut(row(run))),
    "rows: empty": Damage(lambda run: write(row(run), b"")),
    "rows: zeros, as after a power cut": Damage(lambda run: write(row(run), bytes(4096))),
    "rows: one file gone": Damage(lambda run: gone(row(run))),
    "rows: all gone": Damage(lambda run: gone(run / "rows")),
    "rows: all damaged": Damage(lambda run: all_rows(run, flip)),
    "rows: two units exchanged": Damage(lambda run: exchanged(row(run), row(run, -1))),
    "rows: an empty folder in a file's place": Damage(lambda run: folder_for(row(run))),
    "rows: a folder with something in it": Damage(lambda run: full_folder_for(row(run)), True),
    "rows: a link to nothing": Damage(lambda run: link_for(row(run))),
    "rows: a file in the folder's place": Damage(lambda run: file_for(run / "rows"), True),
    "config.json gone": Damage(lambda run: gone(run / "config.json")),
    "config.json cut short": Damage(lambda run: cut(run / "config.json")),
    "config.json of another run": Damage(lambda run: another_config(run / "config.json"), True),
    "data.json gone": Damage(lambda run: gone(run / "data.json")),
    "data.json cut short": Damage(lambda run: cut(run / "data.json")),
    "data.json: another number": Damage(lambda run: changed_number(run / "data.json")),
    "units.json gone": Damage(lambda run: gone(run / "units.json")),
    "units.json cut short": Damage(lambda run: cut(run / "units.json")),
    "units.json: nothing in it": Damage(lambda run: write(run / "units.json", b"[]")),
    "summary.csv: another number": Damage(lambda run: changed_number(run / "summary.csv")),
    "summary.csv cut short": Damage(lambda run: cut(run / "summary.csv")),
    "summary.parquet cut short": Damage(lambda run: cut(run / "summary.parquet")),
    "summary.parquet: a flipped bit": Damage(lambda run: flip(run / "summary.parquet")),
    "summary.csv gone": Damage(lambda run: gone(run / "summary.csv")),
    "tables.md: another number": Damage(lambda run: changed_number(run / "tables.md")),
    "report.html cut short": Damage(lambda run: cut(run / "report.html")),
    "report.html: a folder in its place": Damage(lambda run: folder_for(run / "report.html")),
    "figures gone": Damage(lambda run: gone(run / "figures")),
    "one figure gone": Damage(lambda run: gone(min((run / "figures").iterdir()))),
    "one figure cut short": Damage(lambda run: cut(min((run / "figures").iterdir()))),
    "a file in the place of the figures": Damage(lambda run: file_for(run / "figures"), True),
    "outputs.json: another number": Damage(lambda run: changed_number(run / "outputs.json")),
    "outputs.json cut short": Damage(lambda run: cut(run / "outputs.json")),
    "environment.json cut short": Damage(lambda run: cut(run / "environment.json")),
    "log.jsonl cut in a line": Damage(lambda run: cut(run / "log.jsonl", 0.9)),
    "log.jsonl is binary": Damage(lambda run: write(run / "log.jsonl", bytes(range(256)) * 9)),
    "log.jsonl: a folder in its place": Damage(lambda run: folder_for(run / "log.jsonl")),
    "summary.csv: a full folder in its place": Damage(
        lambda run: full_folder_for(run / "summary.csv"), True
    ),
    "models.json cut short": Damage(lambda run: cut(run / "models.json")),
    "plans.json gone": Damage(lambda run: gone(run / "plans.json")),
    "plans.json cut short": Damage(lambda run: cut(run / "plans.json")),
    "plans.json: another number": Damage(lambda run: changed_number(run / "plans.json")),
    "all but the rows gone": Damage(all_but_rows_gone),
    "what a killed process leaves": Damage(litter),
    "checkpoints": Damage(lambda run: flip(max(run.rglob("*.safetensors"), default=row(run)), 0.7)),
}


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
