"""The same network by eager torch, torch.compile, ONNX Runtime and OpenVINO, for `forward.py`."""

from __future__ import annotations

import importlib.util
import io
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch_models
from worker import cores, seconds, serve

Run = Callable[[], Any]


def _there(*modules: str) -> bool:
    return all(importlib.util.find_spec(name) for name in modules)


class Peers:
    """One network and a batch of photos, prepared in every way there is."""

    def hello(self) -> dict[str, Any]:
        """Versions."""
        found = {"torch": torch.__version__, "threads": torch.get_num_threads()}
        for name in ("onnxruntime", "openvino"):
            found[name] = importlib.import_module(name).__version__ if _there(name) else "none"
        return found

    def open(self, folder: str, name: str, batch: int) -> list[str]:
        """Loads and compiles; returns the programs' names."""
        torch.set_num_threads(cores())
        network = torch_models.load(name, pathlib.Path(folder) / "model.safetensors")
        pixels = np.load(pathlib.Path(folder) / "images.npy")[:batch].transpose(0, 3, 1, 2)
        images = torch.from_numpy(np.ascontiguousarray(pixels)).float() / 255
        last = images.contiguous(memory_format=torch.channels_last)
        self.programs: dict[str, Run] = {"eager": _torch(network, images)}
        folded = network.to(memory_format=torch.channels_last)
        self.programs["channels last"] = _torch(folded, last)
        self.programs["torch.compile"] = _torch(torch.compile(folded), last)
        if _there("onnx", "onnxruntime"):
            self.programs["ONNX Runtime"] = _onnx(network, images)
        if _there("openvino"):
            self.programs["OpenVINO"] = _openvino(network, images)
        return list(self.programs)

    def logits(self, program: str) -> list[list[float]]:
        """Of the batch."""
        return np.asarray(self.programs[program]()).tolist()

    def run(self, program: str) -> float:
        """Seconds of a pass."""
        return seconds(self.programs[program])


def _torch(network: Any, images: torch.Tensor) -> Run:
    def run() -> Any:
        with torch.inference_mode():
            return network(images).numpy()

    return run


def _onnx(network: torch.nn.Module, images: torch.Tensor) -> Run:
    import onnxruntime

    file = io.BytesIO()
    contiguous = network.to(memory_format=torch.contiguous_format)
    torch.onnx.export(contiguous, (images,), file, dynamo=False, opset_version=17)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    session = onnxruntime.InferenceSession(
        file.getvalue(), options, providers=["CPUExecutionProvider"]
    )
    given = {session.get_inputs()[0].name: images.numpy()}
    return lambda: session.run(None, given)[0]


def _openvino(network: torch.nn.Module, images: torch.Tensor) -> Run:
    import openvino

    converted = openvino.convert_model(network, example_input=images)
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": cores()}
    compiled = openvino.compile_model(converted, "CPU", {**options, "PERFORMANCE_HINT": "LATENCY"})
    pixels = images.numpy()
    return lambda: compiled(pixels)[0]


if __name__ == "__main__":
    peers = Peers()
    serve([peers.hello, peers.open, peers.logits, peers.run])
