"""What can be run, one room each: found by the name in `config.experiment`."""

# Modules beside the rooms that are not experiments but shared by them.
PARTS = {
    *("clean", "costs", "cures", "explained", "head_context", "looked"),
    *("paired", "preprocessing", "rows", "runner", "sets", "streamed", "subject"),
}
