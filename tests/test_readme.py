"""Every command and example of the README is real. CI runs its two set-up commands as written."""

import re
import shlex
import subprocess
import sys
from typing import Any

import pytest

from rival_jax import command
from rival_jax.runtime.config_flag import check_config_keys
from rival_jax.runtime.plugins import plugin
from tests.helpers import config_of

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def readme(root) -> str:
    """The README, and the pages of the documentation that are written by hand."""
    files = [root / "README.md", *sorted((root / "docs" / "pages").glob("*.md"))]
    assert len(files) > 5
    return "\n".join(file.read_text() for file in files)


def commands(readme: str) -> list[list[str]]:
    """Arguments of every `python -m rival_jax.main` in the text."""
    joined = readme.replace("\\\n", " ")
    found = re.findall(r"python -m rival_jax\.main ([^`\n]*)", joined)
    assert len(found) >= 4
    return [shlex.split(line) for line in found]


def test_commands_name_configs_keys_and_flags_there_are(readme, root, monkeypatch):
    monkeypatch.chdir(root)
    for arguments in commands(readme):
        check_config_keys(arguments)
        path, _, preset = arguments[0].removeprefix("--config=").partition(":")
        config = config_of(path.removeprefix("configs/").removesuffix(".py"), preset)
        plugin("experiments", config.experiment)
        for argument in arguments[1:]:
            assert re.match(r"--(config\.[\w.]+|workdir)=", argument), argument


def test_short_commands_are_understood(readme):
    lines = [shlex.split(line) for line in re.findall(r"^rival-jax (.*)$", readme, re.MULTILINE)]
    assert {line[0] for line in lines} >= {"rfs", "list", "show", "compare"}
    for words in lines:
        if words[0] not in ("list", "show", "compare", "figures"):
            check_config_keys(command.main_flags(words))


def test_flags_and_values_mentioned_alone_exist(readme):
    config = config_of("rfs")
    for key, value in re.findall(r"`--config\.([\w.]+)=([^`]*)`", readme):
        inner = config
        for part in key.split("."):
            inner = inner[part]
        if key == "data.name":
            plugin("data", value)
    for name in ("dry_run", "extend"):
        assert f"--{name}" in readme or name == "extend"


def test_experiments_in_the_table_have_configs(readme):
    names = re.findall(r"^\| `(\w+)\.py` \|", readme, re.MULTILINE)
    assert len(names) >= 4
    assert [config_of(name).experiment for name in names] == names


def test_the_command_that_prepares_rival10_has_these_flags(readme):
    pytest.importorskip("tensorflow_datasets", reason="preparing needs the extra tfds")
    module, flags = re.findall(r"python -m (rival_jax\.data\.\w+) ([^`\n]*)", readme)[0]
    shown = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True)
    for flag in shlex.split(flags):
        assert flag.partition("=")[0] in shown.stdout


def examples(readme: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"```python\n(.*?)```", readme, re.DOTALL)))


def test_python_examples_run(readme):
    alone = [block for block in examples(readme) if "runs/demo" not in block]
    assert len(alone) >= 2
    for block in alone:
        exec(block, {})


def test_your_own_images_as_written(readme, root, study, tmp_path):
    command = next(a for a in commands(readme) if "--config.data.name=masked_folder" in a)
    changes = {
        "--config.data.root": str(study / "data"),
        "--config.models": f"('{study / 'tiny'}',)",
        "--config.head": "own",  # the stand-in for an ImageNet network has three outputs
        "--workdir": str(tmp_path),
        "--config.noise.trials": "2",
        "--config.statistics.resamples": "100",
    }
    arguments = dict(argument.split("=", 1) for argument in command) | changes
    flags = [f"{key}={value}" for key, value in arguments.items()]
    main = [sys.executable, "-m", "rival_jax.main"]
    subprocess.run([*main, *flags, "--dry_run"], cwd=root, check=True)
    assert not list(tmp_path.iterdir())
    subprocess.run([*main, *flags], cwd=root, check=True)
    results = (root / "docs" / "pages" / "results.md").read_text()
    for name in re.findall(r"`([\w.]+\.(?:html|json|jsonl|csv|md))`", results):
        assert (tmp_path / name).stat().st_size > 0, name
    assert list(tmp_path.glob("rows/**/*.parquet"))
    for block in (one for one in examples(readme) if "runs/demo" in one):
        found: dict[str, Any] = {}
        exec(block.replace("runs/demo", str(tmp_path)).replace("scenes/vit_95", "tiny"), found)
        assert min(found["table"].num_rows, found["rows"].num_rows) > 0
    assert {p.suffix for p in (tmp_path / "figures").iterdir()} == {".png", ".svg", ".csv"}


def test_pictures_and_links_lead_somewhere(root):
    text = (root / "README.md").read_text()
    paths = re.findall(r"\]\((?!https:)([^)#]*)", text)
    assert len(paths) > 8
    for path in paths:
        assert (root / path).stat().st_size > 500, path


def test_set_up_commands_are_found_by_ci(readme, root):
    for mark in ("run", "test"):
        after = readme.split(f"<!-- {mark} -->")[1]
        line = next(line for line in after.splitlines() if line.startswith("    "))
        assert line.strip().startswith("python3 -m venv .venv && .venv/bin/pip install")
    assert "command_of run" in (root / ".ci" / "run").read_text()
