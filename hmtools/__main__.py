"""``python -m hmtools``: the same as the ``hmtools`` command."""

from __future__ import annotations

from hmtools.cli.app import main

if __name__ == "__main__":
    main()
