"""What can be run, one room each: found by the name in `config.experiment`."""

# Modules beside the rooms that are no experiments: what all of them share.
PARTS = {
    *("changed", "clean", "cures", "groups", "head_context", "noise_trials", "plans"),
    *("preprocessing", "rows", "runner", "scoring", "sets", "streamed", "subject"),
}
