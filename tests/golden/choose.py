"""Writes this folder's archives from the whole reference data, which lies in ../shared.

    python -m tests.golden.choose

What is left out, thinned or rounded is said here, in choose_files.py and in README.md, and nowhere
else. Every output is the reference implementations' own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.golden import SHARED, archive
from tests.golden.changes import (
    Arrays,
    chain,
    each,
    npz,
    plain,
    rows,
    short,
    some,
    step,
    tensors,
    whole,
)
from tests.golden.choose_files import layout, papers, published, sets

HERE = Path(__file__).parent


# ---- RIVAL10: numbers


def rival10(folder: Path) -> Arrays:
    found = noise(folder) | figures(folder) | end_to_end(folder) | class_maps(folder)
    found |= plain(folder.parent, *(folder / name for name in ORDERS))
    for name in ("02a_rfs_scalar", "06a_saliency_metrics", "06b_saliency_aggregation"):
        found |= npz(folder, f"{name}.npz")
    found |= npz(folder, "07a_ablation.npz") | npz(folder, "07b_attr_importance.npz")
    found |= npz(folder, "07c_head_adam_lr1e-5.npz") | npz(folder, "07c_head_adam_lr1e-2.npz")
    found |= npz(folder, "07g_fig8.npz")
    found |= npz(
        folder,
        "07e_transforms.npz",
        each(whole, "img0 crop0 flip0 mask_L mask_small oob_box"),
        **each(some(28), "eval0 train0 mask_L_eval mask_small_oob_train"),
    )
    boxes = {"boxes_top_left_height_width": lambda array: array[:1000], "image_hw": whole}
    found |= npz(folder, "07f_crop_box_sample.npz", boxes)
    with np.load(folder / "08_node_attribution.npz") as file:
        neurons = each(whole, file.files) | {"example_saliency": step(-20)}
    found |= npz(folder, "08_node_attribution.npz", neurons)
    return found | npz(
        folder, "08_node_attribution_masks.npz", each(whole, "train_attr_masks test_attr_masks")
    )


ORDERS = ("02_orders.json", "06_saliency_cases.json", "06_saliency_orders.json", "07_orders.json")


def noise(folder: Path) -> Arrays:
    """One level of each kind of noise."""
    kinds = {"linf": ("linf_sigma", 3), "l2": ("l2_eps", 2), "l2small": ("l2small_eps", 1)}
    changes = each(whole, "images masks noise")
    for kind, (levels, level) in kinds.items():
        changes |= each(rows(level), [levels, f"{kind}_noisy_fg", f"{kind}_noisy_bg"])
    return npz(folder, "01_noise_corruption.npz", changes)


def figures(folder: Path) -> Arrays:
    """All that the study's figures draw, and the logits that they are drawn from.

    But for the clean photos of seven models ten logits become two numbers: the logarithm of the
    true class's odds, and whether it is the most probable one. `unpack.logits` makes ten of them.
    """
    found = npz(
        folder,
        "02c_results_accumulated.npz",
        each(whole, "labels sigma acc_clean acc_noisy_fg acc_noisy_bg"),
        **each(step(-22), "ptrue_clean ptrue_noisy_fg ptrue_noisy_bg"),
    )
    with np.load(folder / "02d_figures.npz") as file:
        drawn = each(whole, [key for key in file.files if not key.startswith("hist2d")])
    found |= npz(folder, "02d_figures.npz", drawn | {"fig5_kde": step(-22)})
    with np.load(folder / "02b_results_raw.npz") as file:
        raw = dict(file)
    place = "rival10/02b_results_raw.npz:"
    found[place + "labels"] = labels = raw.pop("labels")
    for key, logits in raw.items():
        as_they_are = 7 if key == "logits_clean" else 0
        found[f"{place}{key}"] = logits[:as_they_are]
        odds, right = true_class(logits[as_they_are:], labels)
        found[f"{place}{key}:odds"] = odds.astype(np.float32)
        found[f"{place}{key}:right"] = np.packbits(right)
    return found


def end_to_end(folder: Path) -> Arrays:
    """Through both networks: a picture of each class, a level and a trial of noise of one norm.

    The trial is there three times, as the test takes three. What the reference stored of a single
    trial are logits. From them come the probability of the true class and whether it is right: of
    all trials and pictures these give what it stored.
    """
    with np.load(folder / "03_noise_e2e_inputs.npz") as file:
        labels = file["labels"]
    picked = np.array([np.flatnonzero(labels == c)[0] for c in range(10)])
    found = npz(
        folder,
        "03_noise_e2e_inputs.npz",
        each(lambda array: array[picked], "images masks labels"),
        noise=lambda array: np.repeat(array[:1, :1, picked], 3, axis=1),
        linf_sigma=rows(0),
    )
    for network in ("resnet", "vit"):
        name = f"03_noise_e2e_{network}"
        place = f"rival10/{name}.npz:"
        with np.load(folder / f"{name}.npz") as file:
            found[place + "logits_clean"] = file["logits_clean"][picked]
            for kind in ("clean", "noisy_fg", "noisy_bg"):
                logits = file[f"linf_logits_{kind[-2:]}" if "_" in kind else "logits_clean"]
                logits = np.broadcast_to(logits, (2, 3, *logits.shape[-2:]))
                odds, right = true_class(logits, labels)
                probability = 1 / (1 + np.exp(-odds))
                share = np.stack([right[..., labels == c].mean((1, 2)) for c in range(10)], 1)
                np.testing.assert_allclose(probability.mean(1), file[f"linf_ptrue_{kind}"], 0, 1e-6)
                np.testing.assert_allclose(share, file[f"linf_acc_{kind}"], 0, 1e-6)
                found[f"{place}linf_ptrue_{kind}"] = probability[:1, 0, picked].astype(np.float32)
                found[f"{place}linf_acc_{kind}"] = right[:1, 0, picked].astype(np.float32)
        found |= tensors(folder, name, short if network == "vit" else whole)
    return found


def true_class(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The logarithm of the true class's odds, and whether it is the most probable one."""
    scores = logits.astype(np.float64)
    places = np.arange(len(labels)), labels
    true = scores[(..., *places)].copy()
    scores[(..., *places)] = -np.inf
    return true - np.logaddexp.reduce(scores, axis=-1), logits.argmax(-1) == labels


def class_maps(folder: Path) -> Arrays:
    """Of one picture: class maps for its two classes, and what they are made of."""
    found = {}
    for network, picked in (("resnet", (0, 6)), ("vit", (0, 5)), ("clip_vit", (0, 3))):
        name = f"05_gradcam_{network}.npz"
        changes = each(whole, "classifier_weight classifier_bias" if "clip" in network else "")
        changes |= each(rows(*picked), "cam_raw category image_index") | {"input": rows(0)}
        changes |= each(chain(rows(*picked), some(400)), "cam cam_2021 activations gradients")
        found |= npz(folder, name, changes)
    found |= npz(
        folder,
        "05_scorecam_resnet.npz",
        input=rows(0),
        category=rows(0),
        cam=chain(rows(0), some(400)),
    )
    with np.load(folder / "05_cam_postprocess.npz") as file:
        names = file.files
    scaled = [key for key in names if not key.startswith("raw")]
    raw = [key for key in names if key.startswith("raw")]
    found |= npz(folder, "05_cam_postprocess.npz", each(whole, raw) | each(some(200), scaled))
    found |= tensors(folder, "04_clip_vit", short)
    kept = "input ln_pre_tokens ln_post_cls features"
    found |= npz(folder, "04_clip_vit.npz", each(rows(0), kept))
    found |= npz(folder, "04_clip_vit.npz", last_ln_1_LND=lambda array: array[:, :1])
    return found


# ---- RobustViT: numbers


def robustvit(folder: Path) -> Arrays:
    found = {}
    for name in ("adamw_unit", "lr_schedule", "ablations_batch0", "finetune_trajectory"):
        found |= npz(folder, f"{name}.npz")
    for name in (
        "gae_upscale_edge",
        "imagenet_s_mask",
        "transforms",
        "segmentation",
        "segmentation_edge",
    ):
        found |= npz(folder, f"{name}.npz")
    for name, power in (("bilateral_solver", -36), ("bilateral_solver_large_object", -26)):
        with np.load(folder / f"{name}.npz") as file:
            solved = {k: step(power) if k.startswith("soft") else whole for k in file.files}
        found |= npz(folder, f"{name}.npz", solved)
    found |= plain(folder.parent, folder / "imagenet_s_mask.png")
    cut = "features bipartition principal_component mask_image seed second_eigenvector"
    cut += " second_eigenvalue third_eigenvalue"
    for case in ("square_binary", "square_weighted", "rect_binary"):
        found |= npz(folder, f"tokencut_ncut_{case}.npz", each(whole, cut))
    found |= tensors(folder, "dino_weights")
    keys = "image features_q features_k features_v pos_embed_interpolated"
    found |= npz(folder, "dino_key_features.npz", each(whole, keys))
    return found | transformers(folder) | finetuning(folder)


def transformers(folder: Path) -> Arrays:
    """Of one image: logits, attention and its gradients, relevance."""
    found = {}
    for name, blocks, more in (("vit_a", 3, []), ("vit_b_distilled", 2, ["dist_features"])):
        attention = [f"attn_block{i}" for i in range(blocks)]
        kept = ["images", "logits", "tokens_final_norm", "cls_features", *more]
        found |= npz(
            folder,
            f"{name}_forward.npz",
            each(rows(0), kept) | each(chain(rows(0), some(400)), attention),
        )
        found |= tensors(folder, f"{name}_weights")
    with np.load(folder / "gae_a.npz") as file:
        computed = [key for key in file.files if key.startswith(("given_", "argmax_"))]
        computed = [k for k in computed if "R_before" not in k and "upscaled" not in k]
    found |= npz(
        folder,
        "gae_a.npz",
        each(rows(0), "images index_given index_argmax")
        | each(chain(rows(0), some(400)), computed),
    )
    shown = "raw_attention_last_layer attn_gradcam_before_minmax_top rollout_start0 rollout_start1"
    shown += " attn_gradcam_before_minmax_other images index_top index_other"
    drawn = each(chain(rows(0), some(400)), "raw_attention_last_layer_map attn_gradcam_top_map")
    found |= npz(folder, "explanations.npz", each(rows(0), shown) | drawn)
    with np.load(folder / "explanations_lrp_float64.npz") as file:
        kept = each(chain(rows(0), some(100)), [k for k in file.files if file[k].ndim > 2])
        kept |= each(rows(0), [k for k in file.files if file[k].ndim == 2])
    return found | npz(folder, "explanations_lrp_float64.npz", kept)


def finetuning(folder: Path) -> Arrays:
    """One of three batches; losses, and at most 16 values of the gradient to each parameter."""
    found = npz(folder, "finetune_batches.npz", each(whole, "images_0 masks_0 labels_0"))
    found |= npz(folder, "finetune_losses_batch0.npz")
    for name in ("gradmask", "rrr"):
        with np.load(folder / f"{name}_batch0.npz") as file:
            numbers = [key for key in file.files if key != "input_gradient"]
        changes = each(whole, numbers) | {"input_gradient": some(400)}
        found |= npz(folder, f"{name}_batch0.npz", changes)
    for path in sorted(folder.glob("*.safetensors")):
        if "_grad_" in path.name or "step1" in path.name:
            found |= tensors(folder, path.stem, some(16, leading=0))
    return found


# ---- all


def chosen(shared: Path) -> dict[str, Arrays]:
    """The arrays of every archive, by its name."""
    folder = shared / "golden"
    return {
        "rival10": rival10(folder / "rival10"),
        "robustvit": robustvit(folder / "robustvit") | papers(shared) | sets(shared),
        "checkpoints": published(folder / "rival10" / "checkpoints"),
        "dataset_layout": layout(folder / "rival10" / "dataset_layout"),
    }


def main() -> None:
    for name, arrays in chosen(SHARED).items():
        archive.write(HERE / f"{name}.xz", arrays)
        print(f"{name}.xz: {(HERE / f'{name}.xz').stat().st_size} bytes")


if __name__ == "__main__":
    main()
