"""One small module for every kind of thing that can be added; CONTRIBUTING.md says how.

They are outside the package, as yours would be: a name with a dot is imported from where the
command is run. `tests/test_examples.py` runs the command in each docstring.
"""
