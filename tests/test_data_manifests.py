"""Tables of photos and masks as spreadsheets and hands write them."""

from __future__ import annotations

import pytest

from rival_jax import data
from rival_jax.data import manifests
from tests.pictures import disc, photo, save

NAMES = ("cat/a", "cat/b", "dog/a")
HEADER = "image,mask,class"
ROWS = [f"images/{name}.jpg,masks/{name}.png,{name[:3]}" for name in NAMES]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    for name in NAMES:
        save(photo(sum(name.encode())), folder / f"images/{name}.jpg")
        save(disc(), folder / f"masks/{name}.png")
    return folder


def table(*lines, end="\n"):
    return end.join([*lines, ""])


def read(root, content, split="test"):
    path = root / "list.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return manifests.read(path, split)


def said(root, content, split="test") -> str:
    with pytest.raises(ValueError, match="manifest") as error:
        read(root, content, split)
    text = str(error.value)
    assert str(root / "list.csv") in text
    return text


PLAIN = table(HEADER, *ROWS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_that_the_file_tells(root, encoding):
    assert read(root, PLAIN.encode(encoding)) == read(root, PLAIN)
    assert [row.folder for row in read(root, PLAIN)] == ["cat", "cat", "dog"]


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe" + PLAIN.replace(",", "\t").encode("utf-16-le"),  # a sheet's "Unicode text"
        b"\xfe\xff" + PLAIN.encode("utf-16-be"),
        table(HEADER, *ROWS, end="\r\n"),
        table(HEADER, *ROWS, end="\r"),
        PLAIN.replace(",", ";"),
        PLAIN.replace(",", "\t"),
        PLAIN.replace(",", "|"),
        PLAIN.replace(",", " , "),
        table(HEADER + ",,", *(row + ",," for row in ROWS), ",,,,", ",,,,"),
        table(HEADER, "", *ROWS, "", "  "),
        table(HEADER, *(row + "  " for row in ROWS)),
        table(HEADER, *(row + "\u00a0" for row in ROWS)),
        table(HEADER, *(",".join(f'"{cell}"' for cell in row.split(",")) for row in ROWS)),
        table(
            "class,image,mask", *(",".join(row.split(",")[k] for k in (2, 0, 1)) for row in ROWS)
        ),
    ],
    ids=[
        *("tab-utf16", "utf16-be", "crlf", "cr", "semicolon", "tab", "bar", "spaces", "padded"),
        *("empty-lines", "space-at-end", "no-break-space", "quoted", "order"),
    ],
)
def test_ways_to_write_one_table(root, content):
    assert read(root, content) == read(root, PLAIN)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            PLAIN.replace("dog\n", "d\u00f6g\n").encode("latin-1"),
            "line 4: byte 0xf6 is not of utf-8",
        ),
        (PLAIN.replace("cat\n", "ch\u00e2t\n", 1).encode("cp1252"), "line 2: byte 0xe2"),
        (b"PK\x03\x04\x14\x00\xff\xd8", "is not of utf-8"),
        (b"\xff\xfe" + PLAIN.encode("utf-16-le")[:-1], "is not of utf-16"),
        (PLAIN.encode("utf-16-le"), "zero bytes, as UTF-16 without its mark"),
        (PLAIN.encode("utf-16-be"), "zero bytes"),
    ],
)
def test_other_encodings_are_named_with_the_cure(root, content, words):
    text = said(root, content)
    assert words in text
    assert text.endswith("save the table as CSV in UTF-8")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (table(HEADER, *ROWS[:2], "images/dog/a.jpg"), "line 4 has 1 cells, the header 3"),
        (table(HEADER, ROWS[0] + ",new", ROWS[1]), "line 2 has 4 cells, the header 3"),
        (table(HEADER, "", "", ROWS[0], ROWS[1] + ",,x"), "line 5 has 5 cells"),
        (
            table(HEADER, ROWS[0].replace("images/cat/a.jpg", '"images/cat/a.jpg\n"'), "a"),
            "line 4 has",
        ),
        (table(HEADER, *ROWS[:2], ROWS[2].replace(",", ";")), "line 4 has 1 cells"),
        (table(HEADER, ROWS[0].replace(",masks/cat/a.png", ",")), "line 2: there is no mask ''"),
        (table(HEADER, ROWS[0][:-3]), "line 2: there is no class ''"),
        (table(HEADER, ROWS[0], ROWS[1], ROWS[0]), "line 4: photo images/cat/a.jpg is on line 2"),
        (table(HEADER, ROWS[0], "./" + ROWS[0].replace("cat/a.jpg", "cat\\a.jpg")), "is on line 2"),
        (table(HEADER, ROWS[0], '"' + ROWS[1], ROWS[2]), "line 3: unexpected end of data; fix"),
        (table(HEADER, ROWS[0], '"images"x,b,c'), "line 3:"),
        (table(HEADER + ",class", ROWS[0] + ",cat"), "line 1: column class occurs twice"),
        (table("Image,mask,class", ROWS[0]), "no column image; it has Image, mask, class"),
        (table("image;mask;label", ROWS[0]), "no column class; it has image, mask, label"),
        ("", "no column image, mask, class"),
        (table(HEADER), r"has no row"),
        (
            table(HEADER + ",split", ROWS[0] + ",", ROWS[1] + ",test"),
            "line 2: there is no split ''",
        ),
        (table(HEADER + ",split", ROWS[0] + ",val "), "its splits are ['val']"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(root, content, words):
    assert words in said(root, content)


@pytest.mark.parametrize("name", ["9" * 400, "9" * 300 + "/a.jpg", "images/" * 2000 + "a.jpg"])
def test_paths_that_no_file_can_have_are_absent_files(root, name):
    assert "line 2: there is no image '" in said(root, table(HEADER, f"{name},masks/cat/a.png,cat"))


def test_every_fault_is_told_at_once(root):
    text = said(root, table(HEADER, "x.jpg,y.png,", ROWS[0], "a,b", ROWS[1] + ",c"))
    for words in (
        "line 2: there is no image 'x.jpg', no mask 'y.png', no class ''",
        "line 4",
        "line 5",
    ):
        assert words in text
    assert "3 of 4 rows cannot be used" in text


def test_splits_are_told_apart_by_stripped_cells(root):
    content = table(HEADER + ",split", ROWS[0] + ",train", ROWS[1] + ", test ", ROWS[2] + ",test")
    assert [row.name for row in read(root, content)] == ["images/cat/b.jpg", "images/dog/a.jpg"]


@pytest.mark.parametrize("name", ["nothing.csv", "images"])
def test_a_table_that_is_not_there(root, name):
    with pytest.raises(ValueError, match=rf"manifest .*{name} cannot be read"):
        data.load("masked_folder", root, "test", manifest=name)


def test_a_class_with_a_space_at_its_end_is_no_other_class(root):
    read(root, table(HEADER, *ROWS[:1], ROWS[1] + " ", ROWS[2]))
    source = data.load("masked_folder", root, "test", manifest="list.csv")
    assert source.classes == ("cat", "dog")
    read(root, table(HEADER, *ROWS[:1], ROWS[1].replace(",cat", ",Cat"), ROWS[2]))
    source = data.load("masked_folder", root, "test", manifest="list.csv")
    assert source.classes == ("Cat", "cat", "dog")
    assert "classes 'Cat' and 'cat' differ" in source.notices[0]
