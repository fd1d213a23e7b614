"""The benchmark's driver and inputs, without timing anything."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest

BENCHMARKS = pathlib.Path(__file__).parent.parent / "benchmarks"
WITHOUT_TORCH = """
import runpy, sys
sys.modules["torch"] = None
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(autouse=True)
def _import_from_benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def options():
    import noise_sweep

    return noise_sweep.parse(["--levels=7", "--trials=10"])


def test_every_fault_can_still_be_planted():
    import mutations

    package = BENCHMARKS.parent / "rival_jax"
    for name, one in mutations.MUTATIONS.items():
        assert (package / one.file).read_text().count(one.right) == 1, name
        for test in one.tests.split():
            assert (BENCHMARKS.parent / "tests" / f"test_{test}.py").exists(), name


def test_help_needs_no_torch():
    command = [sys.executable, "-c", WITHOUT_TORCH, str(BENCHMARKS / "noise_sweep.py"), "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "--peer-python" in shown


def test_forward_passes_of_ten_trials(options):
    from noise_sweep import forwards

    assert (forwards(options, "released"), forwards(options, "eager")) == (217, 141)


def test_a_sweep_of_another_network_is_refused():
    from noise_sweep import check_outcomes

    one = {"probability_fg": [0.5, 0.4], "probability_bg": [0.5, 0.45]}
    check_outcomes({"ours": [one], "eager": [one]}, 100)
    with pytest.raises(ValueError, match=r"probability_bg differs by 0\.1 "):
        check_outcomes({"ours": [one], "eager": [{**one, "probability_bg": [0.5, 0.35]}]}, 100)


def test_outcome_by_hand():
    from worker import outcome

    correct = np.array([[[[True, True]], [[False, True]]], [[[False, False]], [[False, False]]]])
    found = outcome(np.array([True, False]), correct * 0.8, correct)
    assert found["accuracy_clean"] == 0.5
    assert (found["accuracy_fg"], found["accuracy_bg"]) == ([0.5, 0.0], [1.0, 0.0])
    assert found["rfs"] == [1.0, 0.0]
    np.testing.assert_allclose(found["probability_bg"], [0.8, 0.0])


def test_ours_runs_the_experiment(tmp_path):
    import inputs
    from ours import Ours

    inputs.write_images(tmp_path, 2)
    inputs.write_model(tmp_path, "resnet18")
    ours = Ours()
    opened = ours.open(str(tmp_path), "resnet18", "float32", [0.1, 0.8], 1)
    assert opened["flops"] == pytest.approx(inputs.FLOPS["resnet18"], rel=0.1)
    found = ours.run()
    assert [len(found[key]) for key in ("probability_fg", "accuracy_bg", "rfs")] == [2, 2, 2]
    assert np.shape(ours.logits(2)) == (1, 2, inputs.CLASSES)


def test_saliency_help_needs_no_torch():
    command = [sys.executable, "-c", WITHOUT_TORCH, str(BENCHMARKS / "saliency.py"), "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "--peer-python" in shown


def test_programs_that_differ_are_refused():
    from saliency import largest_difference

    assert largest_difference("maps", [np.zeros(2), np.full(2, 0.001)], 0.01) == 0.001
    with pytest.raises(ValueError, match=r"maps differ by 0\.5 between programs, more than 0\.01"):
        largest_difference("maps", [np.zeros(2), np.array([0, 0.5])], 0.01)


def test_finetuning_help_needs_no_torch():
    command = [sys.executable, "-c", WITHOUT_TORCH, str(BENCHMARKS / "finetune_step.py"), "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "--peer-python" in shown
