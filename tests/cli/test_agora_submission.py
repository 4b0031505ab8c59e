from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import typer

from hmtools.bench import agora_submission as writing
from hmtools.cli.agora_submission import agora_submission
from hmtools.core.errors import UsageError
from tests.bench.test_agora_submission import MEANS, person, table


def test_it_writes_and_says_what_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(writing, "_mean_hands", lambda: MEANS)
    path = table(tmp_path, [person(0), person(1, smplx_transl=np.full(3, np.nan))])
    app = typer.Typer()
    app.command()(agora_submission)
    app([str(path), "--out", str(tmp_path / "o.zip")], standalone_mode=False)
    said = capsys.readouterr().out
    assert "1 people of 1 images, smplx; passes the check" in said
    assert "left out, not finite: 1 (x_personId_1)" in said
    with pytest.raises(UsageError, match=r"takes a \.zip"):
        app([str(path), "--out", str(tmp_path / "o.tar")], standalone_mode=False)
