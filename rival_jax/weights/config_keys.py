"""The keys of `config.json` that do not matter, and other hubs' names for those that do.

A key in no table here may change what the network computes, and is refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from rival_jax.weights import class_names

_ORIGIN = (  # the network's origin, and how its files are loaded
    *("tag", "url", "file", "source", "hub", "hf_hub_id", "hf_hub_filename", "custom_load"),
    *("license", "licence", "origin_url", "paper_name", "paper_ids", "notes", "description"),
    *("model_type", "architectures", "_name_or_path", "transformers_version", "torch_dtype"),
    *("dtype", "library_name", "state_dict", "pretrained"),
)
_NAMES = (*class_names.KEYS, class_names.DESCRIPTIONS)  # the outputs' names
_TOLD = (  # facts told by the tensors, or for sizes other than the one read
    *("num_features", "head_hidden_size", "pool_size", "first_conv", "classifier"),
    *("min_input_size", "test_input_size", "test_crop_pct", "fixed_input_size"),
    # of transformers; its pooler is no part of a classifier
    *("pooler_act", "pooler_output_size", "num_stages", "stage_names"),
    *("out_features", "out_indices"),
)
_TRAINING = (
    *("hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout"),
    *("drop_path_rate", "initializer_range", "initializer_factor", "encoder_stride"),
    *("use_cache", "return_dict", "output_attentions", "output_hidden_states", "problem_type"),
)
# Preprocessing and inference do not depend on these.
INERT = frozenset((*_ORIGIN, *_NAMES, *_TOLD, *_TRAINING))
# The same of `model_args`, timm's keywords: dropout, initialisation, and other sizes.
INERT_ARGS = frozenset(
    (
        *("drop_rate", "drop_path_rate", "drop_block_rate", "attn_drop_rate", "proj_drop_rate"),
        *("pos_drop_rate", "patch_drop_rate", "weight_init", "fix_init", "zero_init_last"),
        *("dynamic_img_size", "dynamic_img_pad", "strict_img_size"),
    )
)
# Keys of transformers' configurations -> timm's keywords with the same meaning.
_SAME = {
    "hidden_size": "embed_dim",
    "num_hidden_layers": "depth",
    "num_attention_heads": "num_heads",
    "intermediate_size": "intermediate_size",
    "hidden_act": "act_layer",
    "layer_norm_eps": "norm_eps",
    "image_size": "img_size",
    "patch_size": "patch_size",
    "qkv_bias": "qkv_bias",
    "num_channels": "in_chans",
    "in_chans": "in_chans",
    **{key: key for key in ("depths", "hidden_sizes", "embedding_size", "layer_type")},
    "downsample_in_first_stage": "downsample_in_first_stage",
    "downsample_in_bottleneck": "downsample_in_bottleneck",
}


def with_settings(said: Mapping[str, Any], model_args: Mapping[str, Any]) -> dict[str, Any]:
    """`model_args`, completed from other keys with the same meaning.

    Raises:
      ValueError: two keys contradict each other.
    """
    found = dict(model_args)
    for key, name in _SAME.items():
        if key in said and found.setdefault(name, said[key]) != said[key]:
            raise ValueError(
                f"{key} is {shown(said[key])}, but model_args.{name} or another key says "
                f"{shown(found[name])}; keep the true one"
            )
    return found


def check(keys: Mapping[str, Any], read: Collection[str]) -> None:
    """Raises ValueError for a key that is neither read nor known not to matter."""
    known = {*read, *INERT, *_SAME}
    for key, value in keys.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise ValueError(
                f"{shown(key)} is {shown(value)}: not a key that is known{hint}, so it may change "
                "what the network computes; remove it if it does not"
            )


def shown(value: Any) -> str:
    """A value for an error's one line, cut short."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
