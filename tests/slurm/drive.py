"""A driver in a process of its own, to be killed: submits a job and waits for it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from hmtools.core.settings import load_settings
from hmtools.engine.launch import EngineChoice, run_job
from tests.engine.engine_units import make_job

if __name__ == "__main__":
    engine = EngineChoice.of(replace(load_settings(), engine="slurm"), wait=True)
    sys.exit(run_job(make_job(Path(sys.argv[1]), json.loads(sys.argv[2])), engine, progress=False).exit_code)
