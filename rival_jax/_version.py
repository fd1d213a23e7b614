"""The version, alone, so that packaging reads it without importing jax."""

VERSION = "0.1.0"
