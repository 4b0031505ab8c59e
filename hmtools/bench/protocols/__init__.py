"""Protocols: ``base.py`` and one file per test set, found by listing this folder and by entry points."""
