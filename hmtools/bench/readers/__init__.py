"""Predictions as their writers left them, one module per form; :mod:`hmtools.bench.source` chooses."""
