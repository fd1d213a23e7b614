"""Names of anything, made safe for where they are shown."""

import csv
import io
import re
import unicodedata
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from rich.table import Table

from rival_jax.report import html, lettering, printed, tables
from rival_jax.runtime import names, progress
from rival_jax.runtime.console import Terminal
from rival_jax.runtime.results import Run
from tests.damaged_runs import NAMES, saved, shows

ANY = st.one_of(st.text(), st.sampled_from(NAMES), st.text("\\=+-@'|`<>&$_[](): \t\r\n\x1bab"))


@given(ANY)
def test_what_is_visible_acts_on_nothing_and_stays(text):
    shown = names.visible(text)
    shows(shown.replace("\u200c", "").replace("\u200d", ""))
    assert names.visible(shown) == shown
    ElementTree.fromstring(f"<!--{shown.replace('-', '')}--><a/>".replace("<a/>", "<a></a>"))
    shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mRED", "\\x1b[31mRED"),
        ("b\x9b0m", "b\\x9b0m"),
        ("a\u202etxt.exe", "a\\u202etxt.exe"),
        ("a\udc80", "a\\udc80"),
        ("\ufeffa\u200b", "\\ufeffa\\u200b"),
        ("\ufffe", "\\ufffe"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
        ("caf\u00e9 \u72ac \u05e9", "caf\u00e9 \u72ac \u05e9"),
        ("C:\\new", "C:\\new"),
    ],
)
def test_visible(text, shown):
    assert names.visible(text) == shown


def unmarked(cell):
    """What GitHub shows of a table's cell that has no markup, read from the left."""
    entities = {"&lt;": "<", "&gt;": ">", "&amp;": "&"}
    mark = re.compile(r"\\([\\`*|~$_\]])|" + "|".join(entities))
    return mark.sub(lambda found: found[1] or entities[found[0]], cell)


@given(st.lists(ANY, min_size=1, max_size=4))
@example(["\\<", "\\&lt;|"])
@example(["]("])
def test_a_row_of_markdown_is_one_row_of_as_many_cells(cells):
    text = tables.as_markdown(tables.Table("title", tuple(cells), [tuple(cells)]))
    _, _, header, rule, row = text.splitlines()
    assert header == row
    split = re.findall(r"((?:\\.|[^|\\])*)\|", row)[1:]
    assert len(split) == len(cells) == rule.count("---")
    assert [unmarked(cell.strip()) for cell in split] == [names.visible(c).strip() for c in cells]
    assert not re.search(r"<|(?<!\\)(`|\]\()", row)


@given(st.lists(st.one_of(ANY, st.floats(), st.integers()), min_size=1))
def test_cells_of_csv_are_text_or_numbers_and_never_formulas(cells):
    _, row = csv.reader(io.StringIO(tables.as_csv(["a"], [cells]), newline=""))
    for cell, got in zip(cells, row, strict=True):
        if isinstance(cell, str):
            assert not re.match(r"\s*[=+\-@\t\r]", got)
            bare = got[1:] if re.match(r"'+\s*[=+\-@\uff1d\uff0b\uff0d\uff20]", got) else got
            assert bare == names.visible(cell)
        else:
            assert got == str(cell)


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("  @SUM(B2:B9)", "'  @SUM(B2:B9)"),
        ("-x", "'-x"),
        ("\uff1dA1", "'\uff1dA1"),
        ("''+1", "'''+1"),
        ("a=1", "a=1"),
        ("\t=1", "\\t=1"),  # its tab is an escape, and no formula follows
    ],
)
def test_names_that_spreadsheets_would_compute_are_text(text, cell):
    _, row = csv.reader(io.StringIO(tables.as_csv(["a"], [[text]]), newline=""))
    assert row == [cell]


@given(
    st.lists(
        st.one_of(ANY, st.from_regex(r"(nul|COM1|a)[. ]*(b|A)?", fullmatch=True)),
        min_size=2,
        unique=True,
    )
)
def test_no_two_names_share_a_file(texts):
    own = {text: names.file_name(text) for text in texts}
    assert len(set(own.values())) == len(texts)
    together = names.file_names(texts)
    assert len({name.casefold() for name in together.values()}) == len(texts)
    for name in (*own.values(), *together.values()):
        assert name == names.visible(name)
        assert not re.search(r'[<>:"/\\|?*]|^\.*$|[. ]$', name)
    for name in own.values():
        assert name.partition(".")[0].casefold() not in ("nul", "con", "aux", "com1")
        assert len(name.encode()) < 200


@pytest.mark.parametrize("text", ["vit_tiny.augreg", "scenes", "clean", "linf_0.1176", "my model"])
def test_what_is_a_file_name_stays(text):
    assert names.file_name(text) == text
    assert names.file_name(names.file_name("a:" + text)) == names.file_name("a:" + text)


@pytest.mark.parametrize("model", ["..", "../../x", "/etc/x", "nul.x", "a\x00b", "x" * 300])
def test_rows_stay_below_their_folder(tmp_path, model):
    run = Run(tmp_path / "run", {})
    assert run.rows(f"{model}/clean", {}, lambda: {"a": [1.0]})
    path = run.unit_path(f"{model}/clean", {})
    assert path.is_file()
    assert path.resolve().is_relative_to((tmp_path / "run" / "rows").resolve())


@given(ANY)
def test_latex_has_no_command_of_a_name(text):
    found = names.latex(text)
    known = r"\\(textbackslash|textasciitilde|textasciicircum|textless|textgreater|textbar)\{\}"
    rest = re.sub(rf"{known}|\\[&%$#_{{}}]", "", found)
    assert not re.search(r"[\\&%$#_{}~^<>|]", rest)


@given(ANY)
def test_the_font_has_every_letter(text):
    for line in lettering.letter(text).split("\n"):
        assert len(line) <= names.LONGEST
        assert all(c.isascii() or ord(c) in lettering._glyphs() for c in line)


def test_all_that_a_figure_says_is_text(tmp_path):
    def draw():
        figure = Figure()
        for axes, name in zip(figure.subplots(4, 4).flat, NAMES, strict=False):
            axes.plot([0, 1], label=f"a{name}")
            axes.set_title(name)
            axes.set_xlabel(name)
            axes.set_xticks([0, 1], [name, "b"])
            axes.yaxis.set_ticks([0, 1])
            axes.yaxis.set_ticklabels([name, name])
            axes.annotate(name, (0, 0))
            axes.legend()
        figure.text(0, 0, "\udc80$\\frac{$")
        return figure, ("name",), [(name,) for name in NAMES]

    files = saved(draw, tmp_path / "figure")
    ElementTree.parse(files.svg)
    shows(files.svg.read_text())
    assert "$\\frac{$" in files.svg.read_text()


@pytest.mark.parametrize("name", ["$_{$", "$x^{^}$", "a $\\nothing$", "$$", "\\$5$_{", "$\\left($"])
def test_what_looks_like_a_formula_is_drawn_as_text(name, tmp_path):
    def draw():
        figure = Figure()
        axes = figure.subplots()
        axes.plot([0, 1], label=name)
        axes.set_title(name)
        axes.set_yticks([0, 1], [name, "b"])
        axes.legend()
        return figure, ("name",), [(name,)]

    drawn = saved(draw, tmp_path / "figure").svg
    ElementTree.parse(drawn)
    assert drawn.read_text().count(f"{name} -->") == 3


def test_a_console_prints_names_as_they_are():
    terminal = Terminal(file=io.StringIO(), force_terminal=True, color_system=None, width=300)
    table = Table("model", title="[/b]\x9b")
    for name in NAMES:
        terminal.print(f"skipped {name}: :smile:")
        table.add_row(name)
    terminal.print(table)
    printed = terminal.file.getvalue()
    assert not {c for c in printed if unicodedata.category(c) in ("Cc", "Cf")} - {"\n"}
    assert "skipped [red]x[/red]: :smile:" in printed
    assert "skipped \\x1b[31m\\x07" in printed


@pytest.mark.parametrize("tty", [False, True])
def test_progress_names_what_it_works_on(tty, monkeypatch):
    monkeypatch.setattr(progress, "LOG_EVERY", 0)
    terminal = Terminal(file=io.StringIO(), force_terminal=tty, color_system=None, width=200)
    with progress.Meter(2, "images", terminal) as meter:
        meter.say("[/red]\x1b]0;TITLE\x07\nx")
        meter.advance(1)
    assert "[/red]\\x1b]0;TITLE\\x07\\nx" in terminal.file.getvalue()


def test_tables_are_printed_on_any_console():
    table = tables.Table("[/a]\x1b", NAMES, [NAMES])
    for terminal in (True, False):
        console = Terminal(file=io.StringIO(), force_terminal=terminal, width=2000)
        printed.show_tables([table], console)
        assert "[red]x[/red]" in console.file.getvalue()


@given(ANY)
def test_a_page_shows_names(text):
    values = {"source": "", "caption": text, "alt": "", "name": ""}
    figure = html.environment().from_string(
        '{% from "macros.html.jinja" import figure %}{{ figure(item) }}'
    )
    page = figure.render(item=values)
    shows(page.replace("\u200c", "").replace("\u200d", ""))
    assert "<" not in re.search(r"<figcaption>(.*)</figcaption>", page)[1]


def test_counts_of_one():
    assert tables.counted(1, "class") == "1 class"
    assert tables.percent({"estimate": -1e-5, "low": -0.0, "high": 0.1}) == "0.0 [0.0, 10.0]"


def test_a_console_of_few_letters_shows_escapes():
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    Terminal(file=file).print("\u72ac 0.5")
    assert raw.getvalue() == b"\\u72ac 0.5\n"
