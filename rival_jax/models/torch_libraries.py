"""Networks of PyTorch's libraries, made of a checkpoint's configuration and tensors.

Each maker returns a module with the checkpoint's weights that takes normalised images [b, 3, h, w].
No code of a checkpoint is run, and nothing is downloaded.
"""

from __future__ import annotations

import collections
import importlib.metadata
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rival_jax.models import exporting
from rival_jax.weights import Config, Located, catalogue

TORCHVISION = "torchvision/"  # before "convnext_tiny.IMAGENET1K_V1"
TIMM = "timm"  # the library of a configuration that names an architecture and no library
_TEMPLATES = "SIMPLE_IMAGENET_TEMPLATES"  # open_clip's seven captions of a class
_AUXILIARY = ("googlenet", "inception_v3")  # whose published weights have further heads
_DENSE = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")  # DenseNet's names before 2017


def package_of(config: Config) -> str:
    """The library that has a network, "" if its configuration tells none."""
    return config.package or (TIMM if config.architecture and config.graph is None else "")


def versions(library: str) -> str:
    """ "torch 2.13.0, timm 1.0.31"."""
    package = {"open_clip": "open_clip_torch"}.get(library, library)
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", package))


def network_of(found: Located, tensors: Mapping[str, np.ndarray]) -> Any:
    """A checkpoint's network, by its library.

    Raises:
      ValueError: the library is missing, has no such network, or the tensors do not fit it.
    """
    config = found.config or Config()
    torch, library = exporting.needed("torch"), exporting.needed(package_of(config))
    given = {name: torch.tensor(_float32(tensor)) for name, tensor in tensors.items()}
    try:
        return _MAKERS[package_of(config)](library, found, config, given)
    except Exception as error:  # libraries raise anything
        said = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{config.architecture or package_of(config)}: {said[:300]}") from error


def published(name: str) -> catalogue.Entry | None:
    """A network of torchvision, by "torchvision/" and its name with that of its weights.

    Raises:
      ValueError: torchvision is missing, or has no such network or weights; lists those it has.
    """
    if not name.startswith(TORCHVISION) or catalogue.find(name):
        return None
    models = exporting.needed("torchvision").models
    architecture, _, weights = name.removeprefix(TORCHVISION).partition(".")
    known = models.list_models(module=models)
    if architecture not in known:
        raise ValueError(f"torchvision has no {architecture!r}; it has {', '.join(known)}")
    published = models.get_model_weights(architecture).__members__
    if weights not in published:
        names = ", ".join(f"{TORCHVISION}{architecture}.{key}" for key in published)
        raise ValueError(f"no weights {weights!r} of {architecture}; torchvision has {names}")
    member = published[weights]
    treatment, classes = member.transforms(), len(member.meta["categories"])
    file = member.url.rpartition("/")[2]
    hashed = re.search(r"-([0-9a-f]{8,})\.pth$", file)
    (side,), (short,) = treatment.crop_size, treatment.resize_size
    config = Config(
        package="torchvision",
        architecture=architecture,
        num_classes=classes,
        image_size=(side, side),
        mean=tuple(treatment.mean),
        std=tuple(treatment.std),
        interpolation=treatment.interpolation.value,
        crop_pct=side / short,
        class_names=catalogue.imagenet() if classes == 1000 else tuple(member.meta["categories"]),
    )
    return catalogue.Entry(
        name, member.url, file, sha256=hashed[1] if hashed else "", config=config
    )


def _of_timm(timm: Any, found: Located, config: Config, tensors: dict[str, Any]) -> Any:
    options = dict(config.model_args)
    if config.global_pool is not None:
        options.setdefault("global_pool", config.global_pool)
    if config.num_classes is not None:
        options["num_classes"] = config.num_classes
    network = timm.create_model(config.architecture, pretrained=False, **options)
    network.load_state_dict(tensors)
    return network


def _of_torchvision(vision: Any, found: Located, config: Config, tensors: dict[str, Any]) -> Any:
    options: dict[str, Any] = {"num_classes": config.num_classes or 1000}
    if config.architecture in _AUXILIARY:
        options |= {"transform_input": True, "aux_logits": True, "init_weights": False}
    network = vision.models.get_model(config.architecture, weights=None, **options)
    named = collections.OrderedDict((_DENSE.sub(r"\1\2.", k), v) for k, v in tensors.items())
    setattr(named, "_metadata", {"": {"version": 2}})  # noqa: B010  # MNASNet asks for it
    network.load_state_dict(named)
    return network


def _of_transformers(library: Any, found: Located, config: Config, tensors: dict[str, Any]) -> Any:
    """A classifier, or a trunk whose logits are its pooled features or CLIP's image features."""
    said = dict(config.foreign or {})
    settings = library.AutoConfig.for_model(said.pop("model_type"), **said)
    named = (said.get("architectures") or ["none"])[0]
    kind = getattr(library, named, None)
    if not (isinstance(kind, type) and issubclass(kind, library.PreTrainedModel)):
        raise ValueError(f"its architecture {named!r} is none of transformers'")
    network, loading = kind.from_pretrained(
        None,
        config=settings,
        state_dict=tensors,
        attn_implementation="eager",
        output_loading_info=True,
    )
    extra = [n for n in loading["unexpected_keys"] if not re.search(r"(^|\.)pooler\.", n)]
    wrong = [*loading["missing_keys"], *loading["mismatched_keys"], *extra]
    if wrong:
        raise ValueError(f"{named}: tensors that are missing, too many or of other shapes: {wrong}")
    if "Classification" not in named:
        compute = getattr(network, "get_image_features", network.forward)
        network.forward = lambda image: compute(pixel_values=image).pooler_output.flatten(1)
    return network


def _of_open_clip(library: Any, found: Located, config: Config, tensors: dict[str, Any]) -> Any:
    """The image tower; with class names, cosines to their captions by the text tower, scaled."""
    torch = exporting.needed("torch")
    place = f"local-dir:{found.file.parent}"
    both = library.create_model(place, load_weights=False, pretrained_text=False).eval()
    both.load_state_dict(tensors)
    if not config.class_names:
        return both.visual
    with torch.no_grad():
        captions = library.build_zero_shot_classifier(
            both,
            library.get_tokenizer(place),
            [_word(name) for name in config.class_names],
            getattr(library, _TEMPLATES),
            num_classes_per_batch=8,
        )
        scale = both.logit_scale.exp()
        bias = getattr(both, "logit_bias", None)

    class ZeroShot(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.visual = both.visual
            self.head = torch.nn.Linear(*captions.shape)
            self.head.weight.data = captions.T * scale
            self.head.bias.data[:] = 0 if bias is None else bias

        def forward(self, image: Any) -> Any:
            return self.head(torch.nn.functional.normalize(self.visual(image), dim=-1))

    return ZeroShot()


def _word(name: str) -> str:
    """Of "n02123045, tabby, tabby cat" what a caption says."""
    words = [part for part in name.split(", ") if not re.fullmatch(r"n\d{8}", part)]
    return words[0] if words else name


def _float32(tensor: np.ndarray) -> np.ndarray:
    return tensor if tensor.dtype.kind in "iub" else np.asarray(tensor, np.float32)


_MAKERS: Mapping[str, Callable[..., Any]] = {
    TIMM: _of_timm,
    "torchvision": _of_torchvision,
    "transformers": _of_transformers,
    "open_clip": _of_open_clip,
}
