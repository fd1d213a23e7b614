"""Four fake CPU devices, shape annotations enforced, and the reference data's place."""

from __future__ import annotations

import atexit
import gc
import importlib.metadata
import os
import shutil
import signal
import tempfile
from collections.abc import Generator

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + (
    " --xla_force_host_platform_device_count=4"
    # Most programs of tests compile for longer than they run.
    " --xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
)
if importlib.metadata.version("jaxlib").startswith("0.10."):  # others may not know it, and abort
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
# Tests compile many programs alike. One folder for each worker: a file of it that another worker is
# still writing would be read as damaged, which is a warning, and so an error.
_worker = os.environ.get("PYTEST_XDIST_WORKER", "")
if not _worker:
    _compiled = tempfile.mkdtemp(prefix="rival_jax_tests_")
    atexit.register(shutil.rmtree, _compiled, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_COMPILATION_CACHE_DIR"] += f"/{_worker}"

from pathlib import Path

import jax
import jaxtyping
import pytest

from tests import checked_types
from tests.browser import Browser
from tests.golden import REQUIRED, SHARED

jaxtyping.jaxtyped = checked_types.jaxtyped  # before a module of the package is imported
signal.signal(signal.SIGINT, signal.default_int_handler)  # `&` in a script has it ignored
gc.set_threshold(50_000, 10, 10)  # tracing makes millions of objects, few of them in cycles

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """`-m whole` collects no examples in the package's documentation: none is a whole command."""
    if config.option.markexpr == "whole":
        config.args = [arg for arg in config.args if Path(arg).resolve() != ROOT / "rival_jax"]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Nor does it import files that have no such test: half of a worker's start."""
    if config.option.markexpr == "whole" and collection_path.suffix == ".py":
        return "mark.whole" not in collection_path.read_text(encoding="utf-8") or None
    return None


@pytest.hookimpl(wrapper=True)
def pytest_collect_file() -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Tests have no examples in their documentation: looked for, each file would count twice."""
    return [one for one in (yield) if type(one) is pytest.Module]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def all_shared() -> Path:
    """All of the reference data, photos and others' weights too: it lies beside a checkout."""
    if not SHARED.is_dir():
        stop = pytest.fail if REQUIRED else pytest.skip
        stop(f"only in the whole reference data, not found at {SHARED}; or set RIVAL_JAX_SHARED")
    return SHARED


@pytest.fixture(scope="session")
def shared(request, tmp_path_factory) -> Path:
    """Reference inputs and outputs: the whole, or else the part that lies in tests/golden."""
    if REQUIRED or SHARED.is_dir():
        return request.getfixturevalue("all_shared")
    from tests.golden.unpack import unpack

    return unpack(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="session")
def browser():
    """Chromium, one for all tests of a process."""
    made = Browser()
    yield made
    made.close()


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Path:
    """A folder with `data`, a drawn masked_folder data set, and `tiny`, a random ViT for it."""
    from tests.helpers import draw_study, save_tiny_vit

    folder = tmp_path_factory.mktemp("study")
    draw_study(folder / "data")
    save_tiny_vit(folder / "tiny")
    return folder


@pytest.fixture(scope="module")
def drawn_once():
    """Within a file that uses this each scene is drawn once: its tests are not of the drawing."""
    from rival_jax.data.scenes import Scenes

    draw, drawn = Scenes.__getitem__, {}

    def once(source, index):
        key = source._key, source._size, source._correlation, bool(source.attributes), int(index)
        if key not in drawn:
            drawn[key] = draw(source, index)
        return dict(drawn[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Scenes, "__getitem__", once)
        yield


@pytest.fixture(autouse=True, scope="session")
def _full_precision():
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(autouse=True, scope="session")
def _drawn_faster():
    from rival_jax.report import style

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DPI", 30)
        yield
