"""Tests of hmtools.datasets, and the small COCO trees that the converter's tests read too."""
