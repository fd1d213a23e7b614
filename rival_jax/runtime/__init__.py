"""Machinery that knows arrays and files, but not what is measured."""
