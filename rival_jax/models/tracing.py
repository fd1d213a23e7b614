"""A PyTorch module traced by `torch.export`, with the real output of each of its modules."""

from __future__ import annotations

import warnings
from typing import Any

BATCH = 3  # of the example
NETWORK = "network"  # the name of the module inside of what is traced


def trace(torch: Any, network: Any, image_size: tuple[int, int]) -> tuple[Any, list[str]]:
    """The traced program, for batches of any size, and the names of its outputs but the first.

    Its outputs are the logits, and a copy of what each module returned. Attention is that with a
    softmax: fused forms are off.

    Raises:
      ValueError: torch cannot trace it, or it returns no logits [b, classes].
    """
    watching, names = _watching(torch, network)
    image = torch.zeros(BATCH, 3, *image_size)
    batch = {0: torch.export.Dim("batch", min=2, max=2**16)}
    plain = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), plain, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about its own parts
            program = torch.export.export(
                watching, (image,), dynamic_shapes=(batch,), strict=False
            ).run_decompositions()
    except Exception as error:  # torch raises anything for what it cannot trace
        said = str(error).strip().split("\n")[0] or type(error).__name__
        raise ValueError(f"torch.export cannot trace it: {said}") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return program, names


def _watching(torch: Any, network: Any) -> tuple[Any, list[str]]:
    """A module that returns logits and a copy of each module's output; and the outputs' names."""
    names: list[str] = []

    class Watching(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: Any) -> Any:
            with Watched(torch, network) as seen:
                logits = logits_of(network(image))
            names[:] = list(seen)
            return logits, list(seen.values())

    return Watching().eval(), names


class Watched:
    """While it is entered, a dictionary of copies of what each module returned, by name."""

    def __init__(self, torch: Any, network: Any):
        self._torch, self._network = torch, network
        self.seen: dict[str, Any] = {}

    def __enter__(self) -> dict[str, Any]:
        named = [(name, module) for name, module in self._network.named_modules() if name]
        self._hooks = [m.register_forward_hook(self._noting(name)) for name, m in named]
        return self.seen

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _noting(self, name: str) -> Any:
        calls = 0

        def note(module: Any, args: Any, output: Any) -> None:
            nonlocal calls
            calls += 1
            called = name if calls == 1 else f"{name}#{calls}"
            parts = output if isinstance(output, tuple | list) else [output]
            for i, part in enumerate(parts):
                if self._torch.is_tensor(part) and part.is_floating_point() and part.ndim > 1:
                    # A copy: what comes next may change it in place.
                    self.seen[called if part is output else f"{called}.{i}"] = part.clone()

        return note


def logits_of(output: Any) -> Any:
    """The logits in what a network returns. Raises ValueError if there are none."""
    logits = getattr(output, "logits", output)
    if isinstance(logits, tuple | list) and logits:
        logits = logits[0]
    if getattr(logits, "ndim", None) != 2:
        returned = tuple(getattr(logits, "shape", ())) or type(logits).__name__
        raise ValueError(f"it returns {returned}, expected logits [b, classes]")
    return logits
