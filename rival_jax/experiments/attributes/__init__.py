"""Parts of objects taken away one at a time (RIVAL10 study, appendix; section 3.1 and figure 3)."""

from rival_jax.experiments.attributes.study import STUDY as STUDY
from rival_jax.experiments.attributes.study import Experiment as Experiment
