"""Tables on a console are never wider than it, and no number in them is cut."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st

from rival_jax.report.printed import PRINTED, show_tables
from rival_jax.report.tables import Table
from rival_jax.runtime.console import Terminal, parts


def printed(tables, width):
    """What stands on a terminal."""
    console = Terminal(file=io.StringIO(), force_terminal=True, color_system=None, width=width)
    show_tables(tables, console)
    return console.file.getvalue()


def whole(tables, width):
    """Asserts that every word of the cells is printed, within the console's width."""
    said = printed(tables, width)
    assert "…" not in said
    assert max(map(len, said.splitlines()), default=0) <= width
    words = said.split()
    for table in tables:
        for row in table.rows[:PRINTED]:
            for cell in row[1:]:
                for word in cell.replace(", ", ",").split():
                    assert word in words, (word, width)


cells = st.one_of(
    st.just(""),
    st.builds(
        lambda a, b, c: f"{a:+.1f} [{b:.1f}, {c:.1f}]",
        *[st.floats(-100, 100, allow_nan=False)] * 3,
    ),
)


@given(st.data(), st.integers(1, 30), st.sampled_from([80, 100, 200]))
@settings(deadline=None, max_examples=25)
def test_no_number_is_cut(data, columns, width):
    names = st.text("abc/ ", min_size=1, max_size=60)
    row = st.tuples(names, *[cells] * (columns - 1))
    header = ("models", *(f"column {n}" for n in range(1, columns)))
    whole([Table("A table", header, data.draw(st.lists(row, min_size=1, max_size=3)))], width)


def test_what_does_not_fit_comes_below():
    header = ("model", *(f"level{n}" for n in range(20)))
    said = printed([Table("Title", header, [("net", *["71.2 [68.0, 74.1]"] * 20)])], 80)
    assert said.count("Title") > 1
    assert said.count("Title (continued)") == said.count("Title") - 1
    assert said.count("net") == said.count("Title")
    assert all(f"level{n}" in said for n in range(20))


def test_columns_are_as_wide_as_they_may_be():
    columns = [("model", "net"), ("a", "1.0 [0.5,1.5]"), ("b", "2.0 [1.5,2.5]")]
    assert list(parts(columns, 80)) == [((0, 1, 2), (5, 13, 13))]
    assert list(parts(columns, 27)) == [((0, 1, 2), (5, 9, 9))]
    assert list(parts(columns, 26)) == [((0, 1), (5, 13)), ((0, 2), (5, 13))]
