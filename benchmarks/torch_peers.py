"""The two PyTorch programs that `noise_sweep.py` times ours against; a worker of that driver.

`released` has the structure of the study's released loop, `eager` is the same sweep as one would
write it for speed in plain eager PyTorch. Neither compiles, fuses or folds anything by hand.
"""

from __future__ import annotations

import copy
import functools
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
import torch_models
from torch import Tensor, nn
from worker import cores, outcome, seconds, serve

Predict = Callable[[Tensor], Tensor]
"""Images [b, 3, h, w] float32 in [0, 1] -> logits [b, c] float32."""


class Data(NamedTuple):
    """Images [n, 3, h, w] and masks [n, 1, h, w] float32 in [0, 1], labels [n], on one device."""

    images: Tensor
    masks: Tensor
    labels: Tensor


class Scores(NamedTuple):
    """Probability and correctness of the true class, clean [n] and [levels, n, trials, 2]."""

    clean: Tensor
    probability: Tensor
    correct: Tensor

    @classmethod
    def empty(cls, images: int, levels: int, trials: int, device: torch.device | str) -> Scores:
        shape = (levels, images, trials, 2)
        correct = torch.zeros(shape, dtype=torch.bool, device=device)
        clean = torch.zeros(images, dtype=torch.bool, device=device)
        return cls(clean, torch.zeros(shape, device=device), correct)

    def outcome(self) -> dict[str, Any]:
        """One transfer to the host at the end."""
        return outcome(*(part.cpu().numpy() for part in self))


@torch.no_grad()
def released(
    predict: Predict, data: Data, levels: list[float], trials: int, device: str
) -> dict[str, Any]:
    """Batches of 16 split by class, the clean logits again in every trial, noise from the host.

    The whole image is corrupted too, and not used; every batch is predicted once more, which is
    not used either; all scores are pulled to the host subset by subset. Of the released program
    only what it does per level is here: not that it builds and loads the model, and decodes and
    resizes the photos, once per level.
    """
    scores = Scores.empty(len(data.labels), len(levels), trials, "cpu")
    for position, level in enumerate(levels):
        for start in range(0, len(data.labels), 16):
            labels = data.labels[start : start + 16]
            predict(data.images[start : start + 16].to(device)).argmax(1).cpu()
            for label in labels.unique().tolist():
                rows = start + torch.nonzero(labels == label)[:, 0]
                images, masks = data.images[rows].to(device), data.masks[rows].to(device)
                for trial in range(trials):
                    noise = torch.randn(images.shape).to(device)
                    in_fg, in_bg = noise * masks, noise * (1 - masks)
                    noisy_fg = torch.clamp(images + in_fg * level, 0, 1)
                    noisy_bg = torch.clamp(images + in_bg * level, 0, 1)
                    torch.clamp(images + noise * level, 0, 1)
                    kinds = (images, noisy_fg, noisy_bg)
                    clean, *noisy = (predict(kind).softmax(1).cpu() for kind in kinds)
                    scores.clean[rows] = clean.argmax(1) == label
                    for region, found in enumerate(noisy):
                        scores.probability[position, rows, trial, region] = found[:, label]
                        correct = found.argmax(1) == label
                        scores.correct[position, rows, trial, region] = correct
    return scores.outcome()


@torch.inference_mode()
def eager(
    predict: Predict, data: Data, levels: list[float], trials: int, batch: int
) -> dict[str, Any]:
    """One large batch in channels last, clean once, one draw of noise per trial on the device.

    Foreground, background and all levels share the draw; scores stay on the device to the end.
    """
    device = data.images.device
    scores = Scores.empty(len(data.labels), len(levels), trials, device)
    for start in range(0, len(data.labels), batch):
        rows = slice(start, start + batch)
        images, masks, labels = (part[rows] for part in data)
        scores.clean[rows] = predict(images).argmax(1) == labels
        for trial in range(trials):
            noise = torch.randn_like(images)
            in_fg = noise * masks
            for region, inside in enumerate((in_fg, noise.sub_(in_fg))):
                for position, level in enumerate(levels):
                    noisy = torch.add(images, inside, alpha=level).clamp_(0, 1)
                    logits = predict(noisy)
                    true = logits.softmax(1).gather(1, labels[:, None])[:, 0]
                    scores.probability[position, rows, trial, region] = true
                    scores.correct[position, rows, trial, region] = logits.argmax(1) == labels
    return scores.outcome()


class Peer:
    """One network and one data set, loaded; both programs run on them."""

    def __init__(self, device: str):
        self.device = device
        torch.set_num_threads(cores())

    def hello(self) -> dict[str, Any]:
        """Versions and the device."""
        name = torch.cuda.get_device_name() if self.device == "cuda" else "cpu"
        return {"torch": torch.__version__, "threads": torch.get_num_threads(), "device": name}

    def open(
        self, folder: str, name: str, dtype: str, levels: list[float], trials: int
    ) -> dict[str, Any]:
        """Loads and picks, by a quick scan, the batch size and kind of bfloat16 that suit best."""
        path = pathlib.Path(folder)
        torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
        torch.backends.cudnn.allow_tf32 = dtype == "tf32"
        images = torch.from_numpy(np.load(path / "images.npy")).permute(0, 3, 1, 2).float() / 255
        masks = torch.from_numpy(np.load(path / "masks.npy"))[:, None].float() / 255
        labels = torch.from_numpy(np.load(path / "labels.npy")).long()
        self.levels, self.trials = levels, trials
        self.host = Data(images.contiguous(), masks, labels)
        last = images.to(self.device, memory_format=torch.channels_last)
        self.fast = Data(last, masks.to(self.device), labels.to(self.device))
        model = torch_models.load(name, path / "model.safetensors").to(self.device)
        kinds = {"pure": pure, "autocast": autocast} if dtype == "bfloat16" else {"float32": pure}
        plain = {kind: make(model, dtype) for kind, make in kinds.items()}
        model = copy.deepcopy(model).to(memory_format=torch.channels_last)
        last = {kind: make(model, dtype) for kind, make in kinds.items()}
        found = self._scan(last)
        kind, self.batch = max(found, key=lambda key: found[key])
        self.predict, self.plain = last[kind], plain[kind]
        scan = {f"{kind} {batch}": round(rate, 1) for (kind, batch), rate in found.items()}
        return {"batch": self.batch, "precision": kind, "images_per_second": scan}

    @torch.inference_mode()
    def _scan(self, kinds: dict[str, Predict]) -> dict[tuple[str, int], float]:
        """Images per second of a forward pass by precision and batch size."""
        count = len(self.fast.labels)
        sizes = (64, 128, 256, 512, 1024) if self.device == "cuda" else (4, 8, 16, 32)
        sizes = [size for size in sizes if size <= count] or [count]
        runs = {
            (kind, size): functools.partial(
                lambda predict, images: predict(images).cpu(), predict, self.fast.images[:size]
            )
            for kind, predict in kinds.items()
            for size in sizes
        }
        rounds = [{key: seconds(run) for key, run in runs.items()} for _ in range(6)]
        return {key: key[1] / min(times[key] for times in rounds[1:]) for key in runs}

    @torch.inference_mode()
    def logits(self, count: int) -> list[list[float]]:
        """Of the first images, as each program computes them: released's, then eager's."""
        predicted = self.plain(self.host.images[:count].to(self.device))
        return [predicted.tolist(), self.predict(self.fast.images[:count]).tolist()]

    def run(self, program: str) -> dict[str, Any]:
        """One whole sweep, timed."""
        # Of use only where all batches have one size.
        torch.backends.cudnn.benchmark = program == "eager"
        start = time.perf_counter()
        if program == "released":
            found = released(self.plain, self.host, self.levels, self.trials, self.device)
        else:
            found = eager(self.predict, self.fast, self.levels, self.trials, self.batch)
        return {"seconds": time.perf_counter() - start, **found}

    def peak(self, sizes: list[int], dtype: str) -> dict[str, float]:
        """GFLOP/s of square matrix products by size."""
        kind = torch.bfloat16 if dtype == "bfloat16" else torch.float32
        return {str(size): self._product(size, kind) for size in sizes}

    def _product(self, size: int, kind: torch.dtype) -> float:
        left, right = (torch.randn(size, size, device=self.device).to(kind) for _ in range(2))
        out = torch.empty_like(left)

        def product() -> None:
            torch.mm(left, right, out=out)
            if self.device == "cuda":
                torch.cuda.synchronize()

        return 2 * size**3 / seconds(product, repeats=4) / 1e9


def pure(model: nn.Module, dtype: str) -> Predict:
    """The network in float32, or all of it in bfloat16."""
    if dtype != "bfloat16":
        return model
    half = copy.deepcopy(model).bfloat16()
    return lambda images: half(images.bfloat16()).float()


def autocast(model: nn.Module, dtype: str) -> Predict:
    """Float32 weights, products in bfloat16."""

    def predict(images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16):
            return model(images).float()

    return predict


if __name__ == "__main__":
    peer = Peer(sys.argv[1])
    serve([peer.hello, peer.open, peer.logits, peer.run, peer.peak])
