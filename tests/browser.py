"""Pages as chromium shows them, and what is wrong with them there.

The browser has a thread of its own: playwright keeps an event loop running where it is started.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import pytest

BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")  # the first costs half
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), "")
REQUIRED = bool(os.environ.get("RIVAL_JAX_REQUIRE_BROWSER"))
QUIET = ("background-networking", "component-update", "sync", "gpu")
ALONE = ["--no-sandbox", "--no-first-run", *(f"--disable-{word}" for word in QUIET)]
SEEN = ["color-contrast", "scrollable-region-focusable"]  # rules about what looks differ in
LOOKS = {(1280, "light"): [], (1280, "dark"): None, (390, "light"): None, (390, "dark"): SEEN}
"""Width and colours -> axe's rules, [] for all; it takes a third of the time."""
ONE = re.compile(
    r".{,20}(?<![\w.,\u2212-])1 (?!minus|this|times)(?:[a-z]+ed |other )?[a-z]{2,}[a-rt-z]s\b"
)
PAPER = 718  # pixels of A4 between margins of 1 cm
Result = TypeVar("Result")


def missing() -> str:
    """Why there is no browser, "" if there is one."""
    if not CHROMIUM:
        return "no chromium; apt-get install chromium-headless-shell"
    there = all(map(importlib.util.find_spec, ("playwright", "axe_playwright_python")))
    return "" if there else "playwright and axe-playwright-python are of the extra dev"


class Browser:
    """Chromium, started when it is first needed."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._open = contextlib.ExitStack()
        self._browser: Any = None

    def look(self, folder: Path) -> None:
        """Asserts that all pages of a folder look right; see `do`."""
        pages = sorted(folder.rglob("*.html"))
        assert pages, f"{folder} has no page"
        every = self.do(lambda browser: [(page, faults(browser, page)) for page in pages])
        found = [f"{page.relative_to(folder)}: {one}" for page, some in every for one in some]
        assert not found, "\n".join(found)

    def do(self, work: Callable[[Any], Result]) -> Result:
        """Calls a function with playwright's browser.

        Without one the test ends here: as skipped, or as failed if `REQUIRED`.
        """
        if reason := missing():
            (pytest.fail if REQUIRED else pytest.skip)(f"no page was looked at: {reason}")
        return self._thread.submit(lambda: work(self._started())).result()

    def _started(self) -> Any:
        from playwright.sync_api import sync_playwright

        if self._browser is None:
            playwright = self._open.enter_context(sync_playwright())
            self._browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ALONE)
            self._open.callback(self._browser.close)
        return self._browser

    def close(self) -> None:
        """Ends it."""
        self._thread.submit(self._open.close).result()
        self._thread.shutdown()


def faults(browser: Any, path: Path) -> list[str]:
    """What is wrong with a page, in words."""
    found = [*_without_scripts(browser, path)]
    with browser.new_page() as page:
        told = lambda word: lambda event: found.append(f"{word}: {event}")  # noqa: E731
        page.on("console", lambda m: m.type in ("error", "warning") and found.append(m.text))
        page.on("pageerror", told("script"))
        page.on("request", lambda r: r.url[:5] in ("file:", "data:") or told("asks for")(r.url))
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        found += words(page)
        page.add_script_tag(content=AXE.read_text(encoding="utf-8"))
        for (width, colours), rules in LOOKS.items():
            page.set_viewport_size({"width": width, "height": 900})
            page.emulate_media(media="screen", color_scheme=colours)
            some = page.evaluate(LAYOUT)
            some += [] if rules is None else page.evaluate(RUN_AXE, rules)
            found += [f"{width} pixels, {colours}: {one}" for one in some]
        page.set_viewport_size({"width": PAPER, "height": 1000})
        page.emulate_media(media="print", color_scheme="light")
        found += [f"in print: {one}" for one in page.evaluate(LAYOUT)]
    return list(dict.fromkeys(found))


def _without_scripts(browser: Any, path: Path) -> Iterator[str]:
    """Tables and figures are all there, or a sentence says where they are."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(path.as_uri())
    tables, cells, empty, pictures, told = page.evaluate(STANDS)
    if not told and not (tables and cells):
        yield "without scripts there is no table"
    if empty:
        yield f"without scripts {empty} of {pictures} pictures are not there"
    context.close()


def words(page: Any) -> Iterator[str]:
    """Faults of wording, and of numbers in cells."""
    text, cells = page.evaluate(TEXT)
    yield from (f"one is not many: {one.strip()!r}" for one in ONE.findall(text))
    for cell, line in cells:
        if re.search(r"(?<![\w.])[-\u2212]0(\.0+)?(?![\w.])", cell):
            yield f"zero with a sign: {cell!r}"
        if re.search(r"\b(nan|inf|None)\b", cell) and not re.search(r"\b[a-z]+\.[a-z]", line):
            yield f"no number: {cell!r}"
        if re.search(r"([\[ ][-+\u2212]?0\.0+[,\]].*)\*$", cell):
            yield f"differs from 0, and an end of its interval is 0: {cell!r}"


AXE = resources.files("axe_playwright_python") / "axe.min.js" if not missing() else Path()
RUN_AXE = """async rules => {
  const options = {resultTypes: ["violations"], ...(rules.length ? {runOnly: rules} : {})};
  const {violations} = await axe.run(document, options);
  const first = v => `${v.nodes[0].target} ${v.nodes[0].failureSummary}`;
  return violations.filter(v => /serious|critical/.test(v.impact)).map(
    v => `${v.id}, ${v.nodes.length} times: ${first(v)}`); }"""
STANDS = """() => {
  const pictures = [...document.images];
  return [document.querySelectorAll("table").length, document.querySelectorAll("td").length,
    pictures.filter(one => !one.naturalWidth).length, pictures.length,
    document.querySelector("noscript") !== null]; }"""
TEXT = """() => [document.body.innerText,
  [...document.querySelectorAll("td")].map(
    cell => [cell.textContent, cell.parentNode.textContent])]"""
LAYOUT = """() => {
  const faults = [], box = one => one.getBoundingClientRect(), paper = matchMedia("print").matches;
  const called = one => `${one.tagName} ${one.ariaLabel || one.textContent.trim().slice(0, 40)}`;
  const more = document.documentElement.scrollWidth - innerWidth;
  if (more > 0) {
    const every = [...document.body.querySelectorAll("*")];
    const wide = every.filter(one => box(one).right > innerWidth);
    faults.push(`${more} pixels overflow: ${wide.slice(0, 3).map(called)}`); }
  const links = [...document.links].flatMap(
    (link, i) => [...link.getClientRects()].map(rect => [i, link, rect]));
  const near = (a, b) => a.left < b.right + 4 && a.top < b.bottom;
  for (const [i, one, a] of links) for (const [j, two, b] of links)
    if (i < j && near(a, b) && near(b, a))
      faults.push(`links touch: ${called(one)}, ${called(two)}`);
  const thin = [...document.querySelectorAll("td, th")].filter(
    one => box(one).height > 300 && box(one).width < 80);
  if (thin.length) faults.push(`a letter wide: ${called(thin[0])}`);
  if (paper) return faults;
  for (const region of document.querySelectorAll("*")) {
    if (!/auto|scroll/.test(getComputedStyle(region).overflowX) || !region.clientWidth) continue;
    const table = region.querySelector("table");
    if (!table || region.scrollWidth <= region.clientWidth) continue;
    if (region.tabIndex < 0 || !region.ariaLabel) faults.push(`no key scrolls ${called(region)}`);
    region.scrollLeft = 1e6;
    for (const first of table.querySelectorAll("tr > :first-child")) {
      const way = box(first).left - box(region).left;
      if (Math.abs(way) > 1) { faults.push(`${called(first)} scrolls away: ${way}`); break; }
      if (getComputedStyle(first).backgroundColor === "rgba(0, 0, 0, 0)") {
        faults.push(`others are seen through ${called(first)}`); break; }
      if (box(first).width > .7 * region.clientWidth) {
        faults.push(`${called(first)} leaves no room for others`); break; } }
    region.scrollLeft = 0; }
  return faults; }"""
