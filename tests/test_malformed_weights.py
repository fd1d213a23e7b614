"""Hostile and damaged checkpoints: nothing runs, nothing is imported, nothing takes long."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import checkpoint_writers as write
from tests.checkpoint_guard import MEMORY
from tests.checkpoint_writers import Call, Global, Raw, pickled
from tests.malformed_files import (
    REFUSED,
    STORAGES,
    WEIGHT,
    damaged,
    good_files,
    hostile,
    wrong_files,
    wrong_folders,
    wrong_pickles,
)

SECONDS = 2.0

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the guard limits memory by what Linux tells of a process"
)


def write_cases(folder: Path, canary: Path) -> dict[str, tuple[Path, str]]:
    """Every case as a file, with what its refusal must say; "" if it is not refused."""
    places = {name: folder / name for name in ("bad", "pickles", "folders")}
    for place in places.values():
        place.mkdir()
    cases = wrong_files(places["bad"]) | wrong_folders(places["folders"])
    for form, writer in (("zip", write.write_zip), ("stream", write.write_stream)):
        for name, value in hostile(str(canary)).items():
            path = places["pickles"] / f"{name} {form}".replace(" ", "_")
            writer(path, {"w": WEIGHT, "evil": value}, STORAGES)
            cases[f"{name} {form}"] = path, REFUSED.get(name) or ""
        for name, (value, message) in wrong_pickles().items():
            path = places["pickles"] / f"{name} {form}".replace(" ", "_")
            alone = isinstance(value, Raw)
            writer(path, value if alone else {"w": value}, {} if alone else STORAGES)
            cases[f"{name} {form}"] = path, message
    return cases


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, root, shared):
    """Every case, whole file and damaged file, read by one process under guard."""
    folder = tmp_path_factory.mktemp("files")
    canary = folder / "canary"
    for name in ("good", "damaged"):
        (folder / name).mkdir()
    good = good_files(folder / "good")
    cases = write_cases(folder, canary)
    control = folder / "x.control"
    control.write_bytes(pickled(hostile(str(canary))["reduce"]))
    spoilt = damaged(good, folder / "damaged")
    files = [path for path, _ in cases.values()] + spoilt + list(good.values()) + [control]
    stored = shared / "golden/rival10/checkpoints"
    published = sorted(p for p in stored.glob("*") if p.suffix != ".json")
    for name, content in (("warm", good.values()), ("files", files + published)):
        (folder / name).write_text(json.dumps([str(path) for path in content]))
    command = ["-m", "tests.checkpoint_guard", *(str(folder / n) for n in ("warm", "files", "out"))]
    subprocess.run([sys.executable, *command], check=True, cwd=root, timeout=600)
    result = json.loads((folder / "out").read_text())
    result |= {"cases": cases, "damaged": [str(path) for path in spoilt], "canary": canary}
    result |= {"good": good, "control": str(control), "published": [str(p) for p in published]}
    return result


def test_nothing_is_imported_or_run(guarded):
    outcomes = dict(guarded["outcomes"])
    assert outcomes.pop(guarded["control"])["violations"]  # so the guard does catch it
    assert not {path: o["violations"] for path, o in outcomes.items() if o["violations"]}
    assert not guarded["canary"].exists()


def test_every_file_is_read_or_refused_with_its_name(guarded):
    assert len(guarded["damaged"]) >= 200
    for path, outcome in guarded["outcomes"].items():
        if path == guarded["control"]:
            continue
        assert outcome["error"] in (None, "ValueError"), (path, outcome)
        if outcome["error"]:
            assert outcome["message"].startswith(path), outcome
            assert outcome["message"].count("; ") >= 1, outcome


def test_no_file_takes_long_or_much_memory(guarded):
    times = {path: outcome["seconds"] for path, outcome in guarded["outcomes"].items()}
    assert not {path: seconds for path, seconds in times.items() if seconds > SECONDS}
    assert guarded["memory"] < MEMORY


def test_whole_files_are_read(guarded):
    for path in [*map(str, guarded["good"].values()), *guarded["published"]]:
        assert guarded["outcomes"][path]["error"] is None, path


def test_most_damage_to_what_is_not_a_number_is_found(guarded):
    errors = [guarded["outcomes"][path]["error"] for path in guarded["damaged"]]
    assert errors.count("ValueError") > len(errors) / 2


def test_each_case_is_refused_for_what_it_is(guarded):
    wrong = {}
    for name, (path, message) in guarded["cases"].items():
        outcome = guarded["outcomes"][str(path)]
        if message and not (outcome["error"] and re.search(message, outcome["message"])):
            wrong[name] = message, outcome["message"], outcome["names"]
    assert not wrong, "\n".join(map(str, wrong.items()))


def test_weights_beside_a_hostile_value_are_read(guarded):
    for name in hostile(""):
        for form in ("zip", "stream"):
            path, message = guarded["cases"][f"{name} {form}"]
            names = guarded["outcomes"][str(path)]["names"]
            assert bool(names) != bool(message), (name, guarded["outcomes"][str(path)])
            assert not names or names[0] == "w"


def test_pickles_of_python_are_as_dangerous_as_feared():
    """The control of the cases: some of them do run when opened naively."""
    with pytest.raises(ModuleNotFoundError, match="antigravity"):
        pickle.loads(pickled(Call(Global("builtins", "__import__"), ("antigravity_9",))))
