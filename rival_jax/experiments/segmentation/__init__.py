"""Maps as segmentations of the object, before and after a cure (RobustViT, table 3)."""

from rival_jax.experiments.segmentation.study import STUDY as STUDY
from rival_jax.experiments.segmentation.study import Experiment as Experiment
