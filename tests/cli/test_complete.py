"""What the shell offers after <TAB>, through the completion that Typer installs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def offered(words: str) -> list[str]:
    environment = {
        **os.environ,
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "_HMTOOLS_COMPLETE": "complete_bash",
    }
    command = str(Path(sys.executable).parent / "hmtools")
    done = subprocess.run([command], env=environment, capture_output=True, text=True, check=False)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("hmtools insp", ["inspect"]),
        ("hmtools convert msc", ["mscoco"]),
        ("hmtools convert mscoco --images f", ["full"]),
        ("hmtools convert coco --convention coco_w", ["coco_wholebody_133"]),
        ("hmtools synth m", ["mscoco"]),
        ("hmtools datasets ms", ["mscoco"]),
        ("hmtools convert mscoco --over", ["--overwrite"]),
        ("hmtools body st", ["standin"]),
        ("hmtools body convert x --format p", ["pkl"]),
    ],
)
def test_values_and_options_complete(words: str, wanted: list[str]) -> None:
    assert offered(words) == wanted
