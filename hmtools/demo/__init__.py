"""The whole chain on synthetic data: what ``hmtools demo`` and ``make demo`` run."""
