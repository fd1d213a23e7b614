"""The PyTorch programs that `finetune_step.py` times ours against; a worker of that driver.

`released` has the structure of RobustViT's released loop, `eager` is the same step as one would
write it for speed in plain eager PyTorch, `eager_second` that step with the exact gradient.
"""

from __future__ import annotations

import copy
import pathlib
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torch_models
from torch import Tensor
from worker import serve

GRID = 14


def with_attention(model: torch_models.ViT, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits [b, c], and the probabilities [b, heads, n, n] of every block, in the graph."""
    patches = model.patch_embed(model.normalise(images))
    tokens = torch.cat([model.cls_token.expand(len(images), -1, -1), patches], dim=1)
    x, attentions = tokens + model.pos_embed, []
    for block in model.blocks:
        b, n, width = x.shape
        attn = block.attn
        qkv = attn.qkv(block.norm1(x)).view(b, n, 3, attn.heads, width // attn.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        probabilities = ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(-1)
        attentions.append(probabilities)
        x = x + attn.proj((probabilities @ v).transpose(1, 2).reshape(b, n, width))
        x = x + block.mlp(block.norm2(x))
    return model.head(model.norm(x)[:, 0]), attentions


def scaled(tokens: Tensor) -> Tensor:
    """[b, n-1] as maps [b, h, w] in [0, 1]."""
    maps = tokens.view(len(tokens), 1, GRID, GRID)
    maps = F.interpolate(maps, scale_factor=16, mode="bilinear", align_corners=False)[:, 0]
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low)


def relevance_released(model: torch_models.ViT, images: Tensor, labels: Tensor) -> Tensor:
    """One autograd call for every block, and the product of whole matrices."""
    logits, attentions = with_attention(model, images)
    score = logits.gather(1, labels[:, None]).sum()
    n = attentions[0].shape[-1]
    relevance = torch.eye(n, device=images.device).expand(len(images), n, n)
    for attention in attentions:
        (gradient,) = torch.autograd.grad(score, [attention], retain_graph=True)
        cam = (gradient * attention).clamp(min=0).mean(dim=1)
        relevance = relevance + torch.bmm(cam, relevance)
    return scaled(relevance[:, 0, 1:])


def relevance_eager(
    model: torch_models.ViT, images: Tensor, labels: Tensor, *, train: bool, second: bool
) -> tuple[Tensor, Tensor]:
    """Maps and logits; one forward pass, one autograd call, and the class token's row alone."""
    logits, attentions = with_attention(model, images)
    score = logits.gather(1, labels[:, None]).sum()
    gradients = torch.autograd.grad(score, attentions, retain_graph=train, create_graph=second)
    row = F.one_hot(torch.zeros(1, dtype=torch.long), attentions[0].shape[-1])
    row = row.to(images).expand(len(images), -1)
    for attention, gradient in zip(attentions[::-1], gradients[::-1], strict=True):
        cam = (gradient * attention).clamp(min=0).mean(dim=1)
        row = row + torch.bmm(row[:, None], cam)[:, 0]
    return scaled(row[:, 1:]), logits


def objective(relevance: Tensor, masks: Tensor, logits: Tensor) -> Tensor:
    """The released total; the masks here are binary, so that every border rule is the same."""
    background = (relevance * (1 - masks)).square().mean()
    foreground = (relevance * masks - masks).square().mean()
    classification = F.cross_entropy(logits, logits.argmax(1))
    return 0.8 * (2 * background + 0.3 * foreground) + 0.2 * classification


class Peers:
    """One network and one batch in memory."""

    def __init__(self, device: str):
        self.device = device

    def hello(self) -> dict[str, Any]:
        """Versions and the device."""
        on = torch.cuda.get_device_name() if self.device == "cuda" else "cpu"
        return {"torch": torch.__version__, "threads": torch.get_num_threads(), "device": on}

    def open(self, folder: str, name: str) -> dict[str, Any]:
        """Loads; the frozen original of the released loop, too."""
        path = pathlib.Path(folder)
        images, masks = np.load(path / "images.npy"), np.load(path / "masks.npy")
        self.images = self._put(images).permute(0, 3, 1, 2).float().div(255).contiguous()
        self.masks = self._put(masks).float().div(255)
        self.labels = self._put(np.load(path / "labels.npy")).long()
        self.model: Any = torch_models.load(name, path / "model.safetensors").to(self.device)
        self.original = copy.deepcopy(self.model)
        options = {"lr": 3e-6, "weight_decay": 1e-4}
        self.plain = torch.optim.AdamW(self.model.parameters(), **options)
        self.fused = torch.optim.AdamW(self.model.parameters(), fused=True, **options)
        return {"programs": "eager PyTorch, AdamW fused in eager and eager_second"}

    def outputs(self, program: str) -> dict[str, Any]:
        """Maps, every eighth pixel; the loss and its gradient's norm before any step."""
        maps = self._relevance(program).detach()[:, ::8, ::8]
        loss = self._loss(program)
        self.model.zero_grad()
        loss.backward()
        slopes = [p.grad for p in self.model.parameters()]
        norm = torch.stack([slope.norm() for slope in slopes]).norm()
        self.model.zero_grad()
        return {"maps": maps.tolist(), "loss": loss.item(), "norm": norm.item()}

    def relevance(self, program: str) -> dict[str, float]:
        """The maps of the batch, timed."""
        return self._timed(lambda: self._relevance(program))

    def step(self, program: str) -> dict[str, float]:
        """One update, timed."""
        return self._timed(lambda: self._step(program))

    def peak_memory(self) -> float:
        """MiB, of the device where it has memory of its own, otherwise resident in this process."""
        if self.device == "cuda":
            return torch.cuda.max_memory_allocated() / 2**20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    def _put(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _timed(self, function: Callable[[], Tensor]) -> dict[str, float]:
        start = time.perf_counter()
        function().sum().item()
        return {"seconds": time.perf_counter() - start}

    def _relevance(self, program: str) -> Tensor:
        given = (self.model, self.images, self.labels)
        if program == "released":
            return relevance_released(*given)
        return relevance_eager(*given, train=False, second=False)[0]

    def _loss(self, program: str) -> Tensor:
        given = (self.model, self.images, self.labels)
        if program == "released":
            relevance = relevance_released(*given)
            with torch.no_grad():  # of the frozen network, which the loop logs
                (self.original(self.images).argmax(1) == self.labels).sum().item()
            return objective(relevance, self.masks, self.model(self.images))
        second = program == "eager_second"
        relevance, logits = relevance_eager(*given, train=True, second=second)
        return objective(relevance, self.masks, logits)

    def _step(self, program: str) -> Tensor:
        optimiser = self.plain if program == "released" else self.fused
        loss = self._loss(program)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.detach()


if __name__ == "__main__":
    torch.backends.cuda.matmul.allow_tf32 = False
    peers = Peers(sys.argv[1])
    serve([peers.hello, peers.open, peers.outputs, peers.relevance, peers.step, peers.peak_memory])
