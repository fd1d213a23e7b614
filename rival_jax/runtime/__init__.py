"""Machinery that knows arrays and files, and nothing of what is measured."""
