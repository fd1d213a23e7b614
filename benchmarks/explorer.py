"""How long the page of all images takes to open, filter, sort and flip in chromium.

  python -m benchmarks.explorer
  python -m benchmarks.explorer --images 500 2000 --networks 4

Invented photos with noise, so that their files are as large as those of real ones. Time until
the page is painted, and until it is painted anew: the slowest of `--repeats`. Needs the extra dev
and chromium.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rival_jax.report.explorer import Explorer, Seen, write_explorer
from tests.browser import Browser

KINDS = ("photo", "foreground noise", "background noise", "mask")
COLUMNS = ("iRFS", "p", "p, noise on the object", "p, noise around it")
CHANGES = {  # a control of the page, and what it is set to
    "filter by class": ("label", "class 3"),
    "filter by number": ("low", "0.2"),
    "filter by name": ("text", "11"),
    "no filter": ("label", ""),
    "sort": ("column", "2"),
    "compare": ("other", "network 1"),
}
CHANGED = """async ([id, value]) => {
  for (const name of ["label", "low", "text", "other"]) at(name).value = "";
  if (id !== "label" || value) update(); else { at("label").value = "class 3"; update(); }
  await new Promise(done => setTimeout(done, 300));
  const begun = performance.now();
  at(id).value = value;
  at(id).dispatchEvent(new Event("input", {bubbles: true}));
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - begun; }"""
FLIPPED = """async () => {
  const begun = performance.now();
  flip((kind + 1) % data.kinds.length);
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - begun; }"""


def main() -> None:
    """Prints a table for each number of images."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--images", type=int, nargs="+", default=[2000])
    parser.add_argument("--networks", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    browser = Browser()
    for count in options.images:
        with tempfile.TemporaryDirectory() as folder:
            path, begun = Path(folder) / "a.html", time.perf_counter()
            every = invented(count, options.networks)
            write_explorer(path, Explorer("All", KINDS, COLUMNS, every, count))
            size, took = path.stat().st_size / 2**20, time.perf_counter() - begun
            print(f"{count} images, {size:.1f} MiB, written in {took:.1f} s\n")
            print(browser.do(lambda chromium, path=path: timed(chromium, path, options.repeats)))
    browser.close()


def timed(chromium: Any, path: Path, repeats: int) -> str:
    """The table."""
    opened = []
    for _ in range(repeats):
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        begun = time.perf_counter()
        page.goto(path.as_uri())
        page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
        opened.append(time.perf_counter() - begun)
    lines = ["| | ms |", "|---|---|", f"| open | {1000 * max(opened):.0f} |"]
    work = {name: (CHANGED, [*change]) for name, change in CHANGES.items()}
    for name, (script, change) in {**work, "flip": (FLIPPED, None)}.items():
        slowest = max(page.evaluate(script, change) for _ in range(repeats))
        lines.append(f"| {name} | {slowest:.0f} |")
    return "\n".join(lines)


def invented(count: int, networks: int) -> Iterator[Seen]:
    """Images of ten classes: soft colours with noise on them."""
    draw = np.random.default_rng(0)
    for k in range(count):
        coarse = Image.fromarray(draw.integers(0, 256, (6, 6, 3), np.uint8)).resize((224, 224))
        photo = np.asarray(coarse).astype(np.float32)
        noisy = [photo + scale * draw.standard_normal(photo.shape) for scale in (8, 40, 40)]
        mask = (np.hypot(*np.mgrid[-112:112, -112:112]) < 70).astype(np.uint8) * 255
        pictures = [*(one.clip(0, 255).astype(np.uint8) for one in noisy), mask]
        numbers = {f"network {n}": draw.uniform(-1, 1, 4).tolist() for n in range(networks)}
        yield Seen(f"class {k % 10}/{k:05}.jpg", f"class {k % 10}", pictures, numbers)


if __name__ == "__main__":
    main()
