"""What finetuning minimises: one file per objective, found by `plugin("objectives", name)`.

An objective is a module with `terms(model, variables, batch, **options) -> {term: [b]}`:
per-example losses, pure, differentiable with respect to `variables["params"]` and compiled together
with the caller. The trainer averages over the batch and minimises "total"; the other terms are
logged, among them "correct", 1 where the label is predicted.

`batch` has image [b, h, w, 3] in [0, 1], mask [b, h, w], 1 on the object, and label [b]; padding
(index -1) gets no weight from the trainer. Weights and temperatures may be traced arrays, so that
one program serves many settings; names and switches choose what is compiled.

A module's `NEEDS` lists what else it is given: "original", the weights before the training, as
variables["original"]; "other", another training example for each, as batch["other_image"] and
batch["other_mask"]; "outputs" [b, k], the network's outputs for the classes trained on.
"""
