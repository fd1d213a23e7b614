"""The two papers' claims, judged on one's own finished runs; and how the presets differ.

python -m rival_jax.main --config=configs/claims.py                  all runs below runs/
python -m rival_jax.main --config=configs/claims.py --config.runs="('runs/a','runs/b')"
"""

from rival_jax.configs.claims import PRESETS, get_config
