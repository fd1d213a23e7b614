"""The part of the reference data that travels with the tests; see README.md."""

import os
from pathlib import Path

SHARED = Path(os.environ.get("RIVAL_JAX_SHARED") or Path(__file__).parents[3] / "shared")
REQUIRED = bool(os.environ.get("RIVAL_JAX_REQUIRE_SHARED"))  # then the whole is what is tested
