from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.engine.job import Job, Outcome, OutFile, Result, Unit, unit_id

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.text("abcdefgh0123456789._-", min_size=1).filter(lambda name: name not in {".", ".."})
FILES = st.builds(OutFile, name=NAMES, sha256=st.text(), nbytes=st.integers(0), rows=st.integers(0))


def done(unit: str, **counts: int) -> Result:
    return Result(unit=unit, counts=counts)


def job(*indices: int, **changes: Any) -> Job:
    units = [Unit(index=i, name="n", expected=2) for i in indices]
    return Job(name="j", out=Path("out"), units=units, fn=lambda unit: done(unit.id), **changes)


def test_the_command_that_continues_forces_nothing() -> None:
    said = job(0, command="hmtools convert a --overwrite --out 'x --break-locks' --break-lock").command
    assert said == "hmtools convert a --out 'x --break-locks'"


def test_unit_has_an_id_and_can_be_pickled() -> None:
    unit = Unit(index=12, name="val images 0-511", payload={"a": (1, 2)}, sequences=("s",))
    assert unit.id == unit_id(12) == "u00012"
    assert pickle.loads(pickle.dumps(unit)) == unit


@settings(max_examples=60, deadline=None)
@given(
    st.builds(
        Result,
        unit=st.text(),
        files=st.lists(FILES, max_size=3).map(tuple),
        counts=st.dictionaries(st.text(), st.integers(), max_size=3),
        data=st.dictionaries(st.text(), JSON, max_size=3),
        seconds=st.floats(0, 1e9),
    )
)
def test_result_survives_json(result: Result) -> None:
    assert Result.from_json(json.loads(json.dumps(result.to_json(), allow_nan=False))) == result


@pytest.mark.parametrize("key", ["unit", "files", "counts", "data", "seconds"])
@pytest.mark.parametrize("value", [None, "absent"])
def test_damaged_result_is_a_value_error(key: str, value: str | None) -> None:
    damaged = done("u00000").to_json() | {"files": [{"name": "x", "sha256": "", "nbytes": 1}]}
    assert Result.from_json(damaged).files[0].name == "x"
    if value is None:
        damaged[key] = None
    else:
        del damaged[key]
    if (key, value) == ("unit", None):
        return  # any text is a unit's name, also "None"
    with pytest.raises(ValueError, match="not the JSON of a unit's result"):
        Result.from_json(damaged)


@pytest.mark.parametrize("name", ["/etc/passwd", "../up.tar", "a/../../b", "", "."])
def test_files_stay_in_the_folder(name: str) -> None:
    with pytest.raises(ValueError, match="relative to the job's folder"):
        OutFile(name=name, sha256="", nbytes=0)


@pytest.mark.parametrize("indices", [(0, 0), (1, 0), (-1,)])
def test_indices_rise(indices: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="unit indices"):
        job(*indices)
    assert job(0, 3).expected == 4


@pytest.mark.parametrize("pattern", ["../*", "/x/*"])
def test_owned_files_stay_in_the_folder(pattern: str) -> None:
    with pytest.raises(ValueError, match="owns must stay inside"):
        job(0, owns=(pattern,))


def test_outcome_tells_the_exit_code() -> None:
    results = [done("u00000", records=3, rejected=1), done("u00001", records=4)]
    outcome = Outcome(results=results)
    assert (outcome.ok, outcome.exit_code) == (True, 0)
    assert (outcome.count("records"), outcome.count("rejected"), outcome.count("other")) == (7, 1, 0)
    outcome.failed["u00002"] = "reason"
    assert (outcome.ok, outcome.exit_code) == (False, 1)
    outcome.interrupted = True
    assert (outcome.ok, outcome.exit_code) == (False, 130)
