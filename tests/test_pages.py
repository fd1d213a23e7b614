"""Pages in a browser: those of rfs, what the explorer does, and whether faults are found at all.

The pages of other experiments are looked at where their demos run, in test_configs.py.
"""

import json

import numpy as np
import pytest

from rival_jax.experiments.rfs import joined, page
from rival_jax.report.document import write_document
from rival_jax.report.explorer import Explorer, Seen, write_explorer
from rival_jax.runtime.results import Run
from tests.browser import faults
from tests.damaged_runs import NAMES
from tests.fake_runs import invented
from tests.helpers import quiet

pytestmark = pytest.mark.whole


def pictures(name):
    return (np.full((24, 32, 3), len(name) % 256, np.uint8),) * 3 + (np.eye(24, 32) > 0,)


def test_pages_of_rfs(tmp_path, browser):
    path = invented(
        tmp_path / "run", models=NAMES[3:8], per_class=2, trials=1, norms={"linf": [0.1]}
    )
    run = Run(path, json.loads((path / "config.json").read_text()), extend=True)
    results, document = page.told(run, joined.read(run.path), {}, pictures)
    results.write(run.path)
    write_document(run, quiet(), document)
    browser.look(path)


def test_the_demo_of_the_readme(root, browser):
    if not (root / "runs/demo").is_dir():
        pytest.skip("the README's first command was not run here")
    browser.look(root / "runs/demo")


BROKEN = """<!doctype html><html lang="en"><head><title>t</title></head><body><main><h1>t</h1>
<p style="width: 2000px">1 models, <a href="#a">one</a><a href="#b">two</a></p>
<p style="color: #888; background: #999">pale</p>
<div style="overflow-x: auto; width: 200px"><table>
<tr><th>name</th><td>-0.00</td><td>nan</td><td>+0.01 [0.00, +0.01]*</td></tr>
<tr><th>name</th>{cells}</tr></table></div></main>
<img src="https://127.0.0.1:9/a.png" alt="none"><script>missing()</script></body></html>"""


def test_faults_are_found(tmp_path, browser):
    (tmp_path / "a.html").write_text(BROKEN.format(cells="<td>12345</td>" * 20))
    found = "\n".join(browser.do(lambda chromium: faults(chromium, tmp_path / "a.html")))
    for word in (
        "1 of 1 pictures are not there",
        "missing is not defined",
        "asks for: https://127.0.0.1:9/a.png",
        "one is not many: '1 models'",
        "zero with a sign: '-0.00'",
        "no number: 'nan'",
        "and an end of its interval is 0",
        "1280 pixels, light: color-contrast",
        "390 pixels, dark: links touch: A one, A two",
        "no key scrolls DIV name",
        "TH name scrolls away",
        "in print: 12",
    ):
        assert word in found, f"{word}\n{found}"


@pytest.fixture
def explored(tmp_path, browser):
    """Does something on an explorer of 300 images, in a browser of 390 pixels."""
    photo = np.full((40, 60, 3), 90, np.uint8)
    images = (
        Seen(
            f"{'cat' if k % 3 else 'dog'}/{k:03}.jpg",
            "cat" if k % 3 else "dog",
            (photo, photo // 2, np.eye(40, 60) > 0),
            {"vit": (k / 300, 0.5), "resnet": (0.5, k / 300)},
        )
        for k in range(300)
    )
    wanted = Explorer("All", ("photo", "noise", "mask"), ("iRFS", "p"), images, 300)
    write_explorer(tmp_path / "a.html", wanted)

    def does(steps):
        def work(chromium):
            context = chromium.new_context(viewport={"width": 390, "height": 800})
            context.grant_permissions(["clipboard-read", "clipboard-write"])
            seen = context.new_page()
            seen.goto((tmp_path / "a.html").as_uri())
            steps(seen)
            context.close()

        browser.do(work)

    return does


def names(seen):
    return seen.locator("#grid .name").all_text_contents()


def test_images_are_sorted_filtered_and_copied(explored):
    def steps(seen):
        assert names(seen)[0] == "dog/000.jpg"
        seen.select_option("#order", "-1")
        assert names(seen)[0] == "cat/299.jpg"
        seen.keyboard.press("End")
        seen.wait_for_function("document.querySelectorAll('#grid li').length === 300")
        seen.select_option("#label", "dog")
        assert len(names(seen)) == 100
        seen.fill("#low", "0.95")
        assert names(seen) == [f"dog/{k}.jpg" for k in (297, 294, 291, 288, 285)]
        seen.fill("#text", "29")
        assert names(seen) == [f"dog/{k}.jpg" for k in (297, 294, 291)]
        seen.click("#copy")
        seen.wait_for_function("document.getElementById('copied').textContent.includes('copied')")
        copied = seen.evaluate("navigator.clipboard.readText()")
        assert copied.split() == [f"dog/{k}.jpg" for k in (297, 294, 291)]
        for field in ("#low", "#text"):
            seen.fill(field, "")
        seen.select_option("#other", "resnet")
        assert seen.locator("#grid .number").first.text_content() == "dog, 0.490"
        seen.select_option("#order", "1")
        assert seen.locator("#grid .number").first.text_content() == "dog, \u22120.500"

    explored(steps)


def test_keys_flip_enlarge_and_go_on(explored):
    def steps(seen):
        first = seen.locator("#grid img").first
        seen.wait_for_function("document.querySelector('#grid img').src")
        before = first.get_attribute("src")
        seen.keyboard.press("3")
        assert first.get_attribute("src") != before
        assert seen.locator("#kinds input").nth(2).is_checked()
        seen.locator("#grid button").first.focus()
        seen.keyboard.press("Enter")
        assert seen.locator("#which").text_content() == "dog/000.jpg (dog)"
        assert seen.locator("#large figcaption").all_text_contents() == ["photo", "noise", "mask"]
        assert "resnet0.5000.000" in seen.locator("#numbers").text_content()
        seen.keyboard.press("ArrowRight")
        seen.keyboard.press("ArrowRight")
        assert seen.locator("#which").text_content() == "cat/002.jpg (cat)"
        seen.keyboard.press("Escape")
        assert not seen.locator("#one").is_visible()
        seen.wait_for_function("document.activeElement.textContent.startsWith('cat/002.jpg')")
        seen.keyboard.press("Enter")
        for _ in range(200):
            seen.keyboard.press("ArrowRight")
        seen.keyboard.press("Escape")
        seen.wait_for_function("document.activeElement.textContent.startsWith('cat/202.jpg')")

    explored(steps)
