"""Google's Scenic: its checkpoints, parameter trees and live modules as our models, and back.

Scenic itself is not needed but for live modules. Read are its ViT, ResNet and CLIP (the image
tower); what their arithmetic or their parameters do not share with ours is refused. The package of
that name on PyPI is another project.
"""

from rival_jax.interop.scenic_live import check_installed, wrap_scenic_model
from rival_jax.interop.scenic_trees import from_scenic, load, to_scenic

__all__ = ["check_installed", "from_scenic", "load", "to_scenic", "wrap_scenic_model"]
