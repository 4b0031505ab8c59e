"""The command line: one module per command, found by :mod:`hmtools.cli.app`. Nobody imports this package."""
