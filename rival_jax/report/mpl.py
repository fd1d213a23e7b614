"""What figures use of matplotlib, imported with the first of them: most starts draw none."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib import colormaps as colormaps
    from matplotlib import rc_context as rc_context
    from matplotlib import rc_params_from_file as rc_params_from_file
    from matplotlib.axes import Axes as Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg as FigureCanvasAgg
    from matplotlib.figure import Figure as Figure
    from matplotlib.font_manager import findfont as findfont
    from matplotlib.font_manager import get_font as get_font
    from matplotlib.lines import Line2D as Line2D
    from matplotlib.text import Text as Text
    from matplotlib.ticker import FuncFormatter as FuncFormatter
    from matplotlib.ticker import MaxNLocator as MaxNLocator
    from matplotlib.ticker import PercentFormatter as PercentFormatter

_PLACES = {
    "": ("colormaps", "rc_context", "rc_params_from_file"),
    ".axes": ("Axes",),
    ".backends.backend_agg": ("FigureCanvasAgg",),
    ".figure": ("Figure",),
    ".font_manager": ("findfont", "get_font"),
    ".lines": ("Line2D",),
    ".text": ("Text",),
    ".ticker": ("FuncFormatter", "MaxNLocator", "PercentFormatter"),
}


def __getattr__(name: str) -> Any:
    for place, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(f"matplotlib{place}"), name)
    raise AttributeError(name)
