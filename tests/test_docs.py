"""The documentation builds without a warning, has all there is, and fetches nothing."""

import re
import subprocess
import sys

import pytest

import rival_jax

pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def site(root, tmp_path_factory):
    place = tmp_path_factory.mktemp("site")
    # Not -q: with it --strict hears no warning.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict"]
    command += ["-f", str(root / "docs" / "mkdocs.yml"), "-d", str(place)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert not done.returncode, done.stdout + done.stderr
    return place


def test_every_config_has_a_page_with_its_options_and_what_it_does_not_show(site, root):
    for name in sorted(path.stem for path in (root / "configs").glob("*.py")):
        text = (site / "experiments" / name / "index.html").read_text()
        assert "<code>experiment</code>" in text, name
    rfs = (site / "experiments" / "rfs" / "index.html").read_text()
    assert "What it does not show" in rfs
    assert "<code>noise.trials</code>" in rfs
    assert "above 1/2" in rfs  # the comment on data.mask
    assert not re.search(r"\{\w+\}", re.sub(r"<script.*?</script>", "", rfs, flags=re.DOTALL))


def test_every_function_is_on_the_page_of_functions(site):
    text = (site / "functions" / "index.html").read_text()
    missing = [
        name
        for name in rival_jax.__all__
        if not re.search(rf'id="rival_jax\.(\w+\.)?{name}"', text) and name != "__version__"
    ]
    assert missing == ["saliency"]  # a module; its `explain` is there


def test_nothing_is_fetched_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        text = page.read_text()
        assert not re.findall(r'<(?:script|img|iframe)[^>]* src="?https?:', text), page
        assert not re.findall(r'<link[^>]*rel="?(?:stylesheet|preconnect)[^>]*https?:', text), page


def test_presets_are_compared(site):
    text = (site / "presets" / "index.html").read_text()
    assert "noise.sigmas" in text
    assert "released" in text
