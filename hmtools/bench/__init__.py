"""Benchmarks: metrics, protocols of test sets, per-sample tables and reports."""
