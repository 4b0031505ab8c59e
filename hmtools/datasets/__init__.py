"""Datasets: ``base.py`` and one file per dataset, found by listing this folder and by entry points."""
