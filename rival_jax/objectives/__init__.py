"""What finetuning minimises: one file an objective, found by `plugin("objectives", name)`.

An objective is a module with `terms(model, variables, batch, **options) -> {term: [b]}`: a loss of
every example, pure, differentiable with respect to `variables["params"]` and compiled with what
surrounds it. Averaging over the batch is the trainer's. "total" is what is trained; the other terms
are for the log, among them "correct", 1 where the label is predicted.

`batch` has image [b, h, w, 3] in [0, 1], mask [b, h, w], 1 on the object, and label [b]; a trainer
gives examples of index -1, which fill up a batch, no weight. Weights and temperatures may be traced
arrays, so that one program serves many settings; names and switches choose what is compiled.

A module says in `NEEDS` what else it is given: "original", the weights before the training, as
variables["original"]; "other", another training example for each, as batch["other_image"] and
batch["other_mask"]; "outputs" [b, k], the network's outputs of the classes that are trained on.
"""
