"""The page of all images: what it holds. What its script does: test_pages.py."""

import base64
import io
import json
import re

import numpy as np
from PIL import Image

from rival_jax.report import explorer
from rival_jax.report.document import Document, write_document
from rival_jax.report.explorer import Explorer, Seen, write_explorer
from rival_jax.runtime.results import Run
from tests.helpers import quiet

COLUMNS = ("iRFS", "p")


def data_of(path):
    text = path.read_text()
    blocks = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL
    )
    return text, json.loads(blocks[0])


def seen(k, name=None):
    photo = np.full((40, 60, 3), 10 * k, np.uint8)
    numbers = {"vit": (k / 3, float("nan")), "resnet": (-0.00001, 1.0)}
    return Seen(name or f"dog/{k}.jpg", "dog", (photo, photo[..., 0]), numbers)


def test_it_holds_every_image_with_its_pictures_and_numbers(tmp_path):
    write_explorer(
        tmp_path / "a.html", Explorer("All", ("photo", "mask"), COLUMNS, map(seen, range(3)), 3)
    )
    text, data = data_of(tmp_path / "a.html")
    assert data["networks"] == ["vit", "resnet"]
    assert data["columns"] == list(COLUMNS)
    name, label, pictures, numbers = data["images"][2]
    assert (name, label) == ("dog/2.jpg", "dog")
    assert numbers == {"vit": [0.6667, None], "resnet": [-0.0, 1.0]}
    opened = [Image.open(io.BytesIO(base64.b64decode(one))) for one in pictures]
    assert [one.size for one in opened] == [(60, 40)] * 2
    assert abs(np.asarray(opened[0].convert("L")).astype(int) - 20).max() <= 3
    assert "not shown" not in text
    assert not re.search(r'(src|href)="https?:', text)


def test_names_cannot_end_the_script(tmp_path):
    name = "</script><script>alert(1)</script>"
    one = [seen(1, name)]
    write_explorer(tmp_path / "a.html", Explorer(name, ("photo", "mask"), COLUMNS, one, 1))
    text, data = data_of(tmp_path / "a.html")
    assert data["images"][0][0] == name
    assert "<script>alert" not in text


def test_what_does_not_fit_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(explorer, "MOST", 4)
    made = []
    images = (made.append(k) or seen(k) for k in range(9))
    write_explorer(tmp_path / "a.html", Explorer("All", ("photo", "mask"), COLUMNS, images, 9))
    text, data = data_of(tmp_path / "a.html")
    assert len(data["images"]) == 4
    assert len(made) <= 5  # the others are not even made
    assert "5 more are not shown" in text


def test_pictures_are_smaller_where_there_are_many(tmp_path, monkeypatch):
    monkeypatch.setattr(explorer, "MANY", 2)
    photo = np.zeros((300, 200, 3), np.uint8)
    for count, side in ((1, explorer.SIDE), (2, explorer.SMALL)):
        some = [Seen(str(k), "a", (photo,), {"vit": (0.0,)}) for k in range(count)]
        write_explorer(tmp_path / "a.html", Explorer("All", ("photo",), ("p",), some, count))
        _, data = data_of(tmp_path / "a.html")
        picture = Image.open(io.BytesIO(base64.b64decode(data["images"][0][2][0])))
        assert picture.size == (round(side * 2 / 3), side)


def test_an_image_that_cannot_be_shown_costs_the_page_but_not_the_report(tmp_path):
    run, document = Run(tmp_path, {}), Document("t", "s", ["h"], [], ["m"], [], "source")
    facts = {"name": "d", "split": "test", "classes": ["a"], "counts": [1], "images": 1}
    run.save_json("data.json", {**facts, "fingerprint": "f"})
    run.save_json("models.json", [])
    broken = Explorer("All", ("photo",), ("p",), (1 / 0 for _ in range(3)), 3)
    write_document(run, quiet(), document._replace(explorer=broken))
    assert not (run.path / explorer.FILE).exists()
    assert "Image by image" not in (run.path / "report.html").read_text()
    whole = broken._replace(images=map(seen, range(3)))
    write_document(run, quiet(), document._replace(explorer=whole))
    assert f'<a href="{explorer.FILE}">' in (run.path / "report.html").read_text()
