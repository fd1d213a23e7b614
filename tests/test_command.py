"""The command `rival-jax`: short flags become the config's, and finished runs are read again."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from rival_jax import command, configs
from rival_jax.report import document
from rival_jax.report.results import Results, plain
from rival_jax.report.shown import read_tables
from rival_jax.report.tables import Table
from tests import test_outlines


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        ("rfs", ["--config=rfs"]),
        ("rfs --out=runs/a --dry-run", ["--config=rfs", "--workdir=runs/a", "--dry_run"]),
        ("rfs --pdf paper", ["--config=rfs", "--pdf=paper"]),
        # One's own data is no demo, unless a preset says so.
        (
            "rfs --data photos --head imagenet",
            [
                *("--config=rfs:clean", "--config.data.name=masked_folder"),
                *("--config.data.root=photos", "--config.head=imagenet"),
            ],
        ),
        (
            "rfs:paper --data rival10=/d",
            ["--config=rfs:paper", "--config.data.name=rival10", "--config.data.root=/d"],
        ),
        (
            "neurons: --data /d",
            ["--config=neurons:", "--config.data.name=rival10", "--config.data.root=/d"],
        ),
        (
            "robustness --set a=/a --set b=/b --batch-size 8",
            ["--config=robustness", "--config.sets=('a=/a', 'b=/b')", "--config.batch_size=8"],
        ),
        (
            "masks photos --out m",
            [
                *("--config=tokencut:clean", "--config.data.name=image_folder"),
                *("--config.data.root=photos", "--workdir=m"),
            ],
        ),
        (
            "sis --method gradcam --method lrp",
            ["--config=sis", "--config.sis.methods=('gradcam', 'lrp')"],
        ),
        (
            "rfs --trials 3 --config.noise.norms=('l2',) --nodistributed --extend",
            [
                *("--config=rfs", "--config.noise.trials=3"),
                *("--config.noise.norms=('l2',)", "--nodistributed", "--extend"),
            ],
        ),
    ],
)
def test_short_flags_are_the_configs_own(words, flags):
    found = command.main_flags(words.split())
    assert sorted(found) == sorted(flags)
    assert found[0] == flags[0]


@pytest.mark.parametrize("form", ["masked_folder", "labelme", "coco runs", "cvat", "yolo"])
def test_a_folder_is_known_by_what_is_in_it(form, tmp_path):
    make, name, _ = test_outlines.FORMS[form]
    make(tmp_path)
    found = command.main_flags(["saliency", "--data", str(tmp_path)])
    assert f"--config.data.name={name}" in found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("rsf", "did you mean 'rfs'"),
        ("rfs --modle=a", "did you mean 'model'"),
        ("rfs photos", "unexpected 'photos'"),
        ("robustness --trials 3", "robustness has no --trials"),
        ("rfs --data", "expected one argument"),
        ("masks --out m", "masks: name a folder of photos"),
        ("rfs:nonsense", "no preset 'nonsense'"),
    ],
)
def test_a_misspelt_word_is_named(words, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        command.main_flags(words.split())


def test_help_names_every_experiment_and_flag(capsys):
    command.cli(["--help"])
    said = capsys.readouterr().out
    folder = Path(configs.__file__).parent
    every = {path.stem for path in folder.glob("*.py")} - configs.PARTS - {"__init__"}
    for name in every:
        assert re.search(rf"^  {name} ", said, re.M), name
    for short in command.SHORT:
        assert f"--{short.name}" in said


def test_lists_name_what_there_is(capsys):
    for kind, one in [("methods", "gradcam"), ("data", "masked_folder"), ("heads", "imagenet")]:
        command.cli(["list", kind])
        lines = capsys.readouterr().out.splitlines()
        assert any(re.match(rf"{one} +\w", line) for line in lines)
        assert not any(line.startswith("_") for line in lines)
    command.cli(["list", "models"])
    assert "vit_tiny" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="did you mean 'models'"):
        command.cli(["list", "model"])


TABLES = [
    Table("One_name: 50 % | [a] <b>", ("model", "RFS"), [("vit|a", "-0.08 [-0.10, 0.00]")]),
    Table("Second", ("model", "'x"), [("=1", "")]),
]


def test_a_runs_tables_are_read_as_they_were(tmp_path):
    for name, text in document._files(TABLES).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert read_tables(tmp_path) == TABLES
    with pytest.raises(SystemExit, match="name a finished run's folder"):
        command.cli(["show", str(tmp_path / "none")])


def _run(folder, model, value):
    folder.mkdir()
    row = plain("knn", "accuracy", value, 10, 2, model=model, k=20)
    Results([row]).write(folder)
    for name, content in (("config", {"experiment": "robustness"}), ("data", {}), ("models", [])):
        (folder / f"{name}.json").write_text(json.dumps(content))
    return str(folder)


def test_two_runs_stand_beside_each_other(tmp_path, capsys):
    a, b = _run(tmp_path / "a", "net", 0.25), _run(tmp_path / "b", "cured", 0.5)
    command.cli(["compare", a, b])
    said = " ".join(capsys.readouterr().out.split())
    assert "knn: accuracy" in said
    assert "20 0.2500 0.5000 +0.2500" in said
    assert "(net)" in said
    assert "(cured)" in said
    assert "no paired intervals: robustness has no rows of one study" in said
    command.cli(["compare", a, b, "--out", str(tmp_path / "ab")])
    assert " & 0.2500 & 0.5000 & +0.2500 " in (tmp_path / "ab" / "compared.tex").read_text()
    with pytest.raises(SystemExit, match="name two finished runs"):
        command.cli(["compare", a])


def test_runs_of_rfs_are_compared_by_their_report(tmp_path, monkeypatch):
    for name in "ab":
        (tmp_path / name).mkdir()
        Results([plain("rfs", "rfs", 0.1, 3, 1, model="m")]).write(tmp_path / name)
    seen = []
    monkeypatch.setattr(command, "_run", seen.extend)
    command.cli(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--out", "c"])
    runs = (str(tmp_path / "a"), str(tmp_path / "b"))
    assert seen == ["--config=report", f"--config.runs={runs}", "--workdir=c", "--pdf=c/pdf"]
    with pytest.raises(SystemExit, match="--model is not for finished runs"):
        command.cli(["compare", *runs, "--model=a"])


def test_a_finished_runs_figures_are_drawn_again_by_its_own_command(tmp_path, monkeypatch):
    argv = ["--config=rfs", "--config.noise.trials=3", "--workdir=runs/a", "--pdf=old"]
    (tmp_path / "log.jsonl").write_text(json.dumps({"event": "start", "argv": argv}) + "\n")
    seen = []
    monkeypatch.setattr(command, "_run", seen.extend)
    command.cli(["figures", str(tmp_path), "--out", "paper"])
    assert seen == [*argv[:2], f"--workdir={tmp_path}", "--pdf=paper"]
    with pytest.raises(SystemExit, match="figures: name a finished run"):
        command.cli(["figures", str(tmp_path / "none")])


@pytest.mark.whole
def test_the_installed_command_runs(tmp_path):
    script = Path(sys.executable).parent / "rival-jax"
    words = ["rfs", "--trials", "1", "--out", str(tmp_path / "run"), "--dry-run"]
    words += ["--config.data.scenes.per_class=1"]
    done = subprocess.run([script, *words], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "forward" in done.stdout
    wrong = subprocess.run([script, "rfs", "--model=/nowhere"], capture_output=True, text=True)
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("error: ")
