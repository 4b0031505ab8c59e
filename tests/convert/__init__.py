"""Tests of hmtools.convert."""
