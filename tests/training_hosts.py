"""What several hosts do together in tests; each runs this file.

Arguments: folder, address of host 0, number of hosts, place of this one, names of cases.
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests import multihost


def together(folder: Path, count: int, devices: int, *names: str) -> list[multihost.Forked]:
    """Starts `count` hosts of `devices` devices each."""
    where = multihost.address()
    folder.mkdir(exist_ok=True)
    started = []
    for place in range(count):
        words = ["tests.training_hosts", str(folder), where, str(count), str(place), *names]
        given = (words, folder / f"host{place}.txt", multihost.environment(devices))
        started.append(multihost.Forked(*given))
    return started


def ended(hosts: Sequence[multihost.Forked], within: float = 400) -> list[int]:
    """Their exit codes."""
    return [host.wait(timeout=within) for host in hosts]


class Cases:
    """By name; each writes files named after itself."""

    def __init__(self, folder: Path, place: int):
        self.folder, self.place = folder, place

    def _trained(self, name, **options):
        from tests import training_cases as cases

        done = cases.fit(self.folder / name, who=cases.members(0, 1), **options)
        for member, one in enumerate(done):
            cases.save(one, self.folder / f"{name}_host{self.place}_{member}.npz")

    def plain(self):
        """Some trainings, undisturbed."""
        self._trained("plain")

    def parts(self):
        """In parts, more of them than rows."""
        from tests.training_cases import RECIPE

        self._trained("parts", recipe=dataclasses.replace(RECIPE, accumulate=8))

    def cut(self):
        """Parameters cut among the devices."""
        self._trained("cut", sharding="fsdp")

    def stopped(self):
        """A signal to the last host, which saves; then on from there."""
        import jax

        from rival_jax.runtime.members import Watch
        from rival_jax.runtime.signals import Interrupted

        told, says = [], []

        def on_step(images):
            told.append(images)
            time.sleep(0.4)  # hosts look for each other's signals twice a second
            if len(told) == 4 and self.place == jax.process_count() - 1:
                os.kill(os.getpid(), signal.SIGTERM)

        try:
            self._trained("stopped", watch=Watch(on_step=on_step, say=says.append))
        except Interrupted as error:
            said = {"code": error.code, "said": says, "steps": len(told)}
            (self.folder / f"stopped_host{self.place}.json").write_text(json.dumps(said))
            raise

    def going_on(self):
        """What `stopped` left, to its end."""
        self._trained("stopped")

    def infinite(self):
        """A number that is not finite, in a part of one host."""
        from tests import training_cases as cases

        def change(batch):
            for row in (batch["index"] == 13).nonzero()[0]:
                batch["image"][row] = float("inf")
            return batch

        try:
            self._trained("infinite", data=cases.data(change=change))
        except ValueError as error:
            (self.folder / f"infinite_host{self.place}.txt").write_text(str(error))

    def finetune(self):
        """The experiment, without its report."""
        finetuned(Path(os.environ["FINETUNE_FOLDER"]), self.folder / "finetune")


def finetuned(work: Path, folder: Path) -> None:
    """One variant on what `finetune_cases.make` has drawn."""
    from unittest import mock

    from rival_jax.experiments.finetune import study
    from tests import finetune_cases

    few = {"variants": ("cross_entropy",), "evaluate.alphas": (), "noise.sigmas": (0.2,)}
    few["settings"] = ("", "per_class=1")
    settings = finetune_cases.config(work, **few, **{"shifted.name": "", "noise.trials": 1})
    with mock.patch.object(study.Experiment, "report", finetune_cases.no_report):
        finetune_cases.run_in(folder, settings)


if __name__ == "__main__":
    import jax

    from rival_jax.runtime import hosts

    where, address, count, mine, *chosen = sys.argv[1:]
    hosts.initialize(address, int(count), int(mine), heartbeat=20)
    with jax.default_matmul_precision("highest"), hosts.together():
        for case in chosen:
            getattr(Cases(Path(where), int(mine)), case)()
