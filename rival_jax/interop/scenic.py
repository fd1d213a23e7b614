"""Google's Scenic: its checkpoints, parameter trees and live modules as our models, and back.

Scenic itself is needed only for live modules. Its ViT, ResNet and CLIP (the image tower) are read;
arithmetic or parameters that ours do not have are refused. PyPI's package `scenic` is another
project.
"""

from rival_jax.interop.scenic_live import check_installed, wrap_scenic_model
from rival_jax.interop.scenic_trees import from_scenic, load, to_scenic

__all__ = ["check_installed", "from_scenic", "load", "to_scenic", "wrap_scenic_model"]
