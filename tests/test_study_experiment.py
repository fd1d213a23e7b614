import io

import numpy as np
import pytest
from rich.console import Console

from rival_jax import models
from rival_jax.experiments import study
from rival_jax.report.results import Results
from rival_jax.runtime.results import Run
from tests import finetune_cases as cases
from tests.helpers import config_of

pytestmark = pytest.mark.whole


def asked(folder):
    """A study of coloured squares by a tiny network."""
    c, made = config_of("study"), cases.config(folder)
    c.stages = ("segmentation", "perturbation")
    for key in ("models", "data", "shifted", "split", "train", "noise", "cache", "statistics"):
        c.finetune[key] = made[key]
    c.finetune.noise.sigmas = (0.2,)
    for stage in (c.segmentation, c.perturbation):
        stage.saliency.methods, stage.statistics.resamples = ("relevance",), 40
        stage.cache = made.cache
    c.perturbation.perturbation.fills = ("black",)
    c.perturbation.perturbation.shares, c.perturbation.perturbation.steps = (0.5,), 2
    return c


def test_one_command_leads_from_photos_to_a_card(tmp_path):
    config = asked(cases.make(tmp_path / "in"))
    config.finetune.evaluate.checkpoint = "last"
    console = Console(file=io.StringIO(), width=200)
    for _ in range(2):  # the second finds all that the first has done
        run = Run(tmp_path / "out", config.to_dict())
        run.log("start", argv=[])
        study.run(config, run, console)
        run.close()
    assert console.file.getvalue().count("nothing new to report") == 3
    found = Results.read(run.path)
    assert found.of("study") == ["finetune", "segmentation", "perturbation"]
    card = (run.path / "model" / "README.md").read_text()
    assert "finetuned by energy_swap" in card
    gain = found.one(
        study="segmentation",
        measure="miou",
        rule="mean",
        contrast="minus tiny",
    )
    before, after = (
        found.one(study="segmentation", measure="miou", rule="mean", contrast="", model=name)
        for name in ("tiny", "energy_swap_seed0_last")
    )
    assert gain["estimate"] == pytest.approx(after["estimate"] - before["estimate"], abs=1e-6)
    line = next(line for line in card.splitlines() if line.startswith("| miou, mean"))
    assert f"{100 * before['estimate']:.1f} [" in line
    assert f"-> {100 * after['estimate']:.1f} [" in line
    assert "accuracy_area, relevance, positive, black" in card
    _, variables = models.load(str(run.path / "model"))
    _, kept = models.load(run_card(run)["last"])
    np.testing.assert_array_equal(
        variables["params"]["head"]["kernel"], kept["params"]["head"]["kernel"]
    )


def run_card(run):
    cards = Run(run.path / "finetune", {}, extend=True).read_json("networks.json")
    return next(card for card in cards if card["variant"] == "energy_swap")


def test_what_a_later_stage_lacks_is_told_before_the_training(tmp_path):
    config = asked(cases.make(tmp_path / "in"))
    run = Run(tmp_path / "out", config.to_dict())
    config.finetune.seeds = (0, 1)
    with pytest.raises(ValueError, match="a study is of one network: name one seed"):
        study.run(config, run, Console(quiet=True))
    config.finetune.seeds = (0,)
    config.segmentation.saliency.methods = ("gradcan",)
    with pytest.raises(ValueError, match=r"did you mean .gradcam."):
        study.run(config, run, Console(quiet=True))
    assert not (tmp_path / "out" / "finetune").exists()
