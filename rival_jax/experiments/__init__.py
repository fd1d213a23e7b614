"""What can be run: each module has `run(config, run)` and `dry_run(config)`."""
