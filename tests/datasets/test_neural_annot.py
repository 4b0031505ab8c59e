"""Fits of NeuralAnnot: every variant of an entry, where the bytes of a fit are, damage of any kind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hmtools.core.errors import LayoutError
from hmtools.datasets.base import Rejected
from hmtools.datasets.neural_annot import FitUnit, parse_fit, plan_fits, put_fit, read_fits, without_fit
from hmtools.engine.job import Unit
from hmtools.humandata.record import Record
from tests.datasets.fit_json import FIELDS, entry, fit_values, write_fits

VALIDITY = ("smplx", "betas", "global_orient", "transl")


def units(*ids: Sequence[int]) -> tuple[list[Unit], list[np.ndarray]]:
    found = [
        Unit(index=i, name=f"u{i}", payload=("people", i), expected=len(own)) for i, own in enumerate(ids)
    ]
    return found, [np.array(own, np.int64) for own in ids]


def read(file: Path, *ids: int) -> list[Record | Rejected]:
    """Plan and read one unit of some people."""
    (unit,) = plan_fits(file, *units(ids))
    return list(read_fits(file, unit.payload, [Record(source_id=str(i)) for i in ids]))


def rejections(found: Sequence[Record | Rejected]) -> list[tuple[str, str, bool]]:
    return [(r.reason, r.source, r.by_rule) for r in found if isinstance(r, Rejected)]


def kept(found: Sequence[Record | Rejected]) -> list[Record]:
    return [record for record in found if isinstance(record, Record)]


# One entry


def test_every_field_has_its_part() -> None:
    fit = parse_fit(entry(7), "smplx")
    assert set(fit.parts) == {part for part, _ in FIELDS.values()}
    for field, (part, _) in FIELDS.items():
        assert fit.parts[part].tolist() == fit_values(7)[field]
    assert fit.focal_length is not None
    assert fit.principal_point is not None
    assert (fit.focal_length.tolist(), fit.principal_point.tolist()) == ([2002.0, 2010.0], [49.0, 36.5])
    assert fit.valid == {}


@pytest.mark.parametrize("nest", ["plain", "row", "rows", "column", "joints"])
def test_numbers_in_further_lists(nest: str) -> None:
    pose = fit_values(1)["body_pose"]
    nested = {
        "plain": pose,
        "row": [pose],
        "rows": [[[pose]]],
        "column": [[x] for x in pose],
        "joints": np.reshape(pose, (21, 3)).tolist(),
    }
    fit = parse_fit(entry(1, body_pose=nested[nest]), "smplx")
    assert fit.parts["body_pose"].tolist() == pose


def test_whole_objects_in_further_lists() -> None:
    plain = entry(3)
    wrapped = [{"smplx_param": [plain["smplx_param"]], "cam_param": [[plain["cam_param"]]]}]
    assert parse_fit(wrapped, "smplx").parts["betas"].tolist() == fit_values(3)["shape"]


@pytest.mark.parametrize(
    ("spelt", "means"), [(True, True), (False, False), (1, True), (0.0, False), ([1.0], True), ([[0]], False)]
)
@pytest.mark.parametrize("name", ["lhand", "rhand", "face"])
def test_flags(spelt: Any, means: bool, name: str) -> None:
    assert parse_fit(entry(1, **{f"{name}_valid": spelt}), "smplx").valid == {name: means}


@pytest.mark.parametrize("spelt", ["false", 2, 0.5, None, [], [1, 1], {}])
def test_what_is_no_flag(spelt: Any) -> None:
    row = entry(1)
    row["smplx_param"]["lhand_valid"] = spelt
    with pytest.raises(TypeError, match="lhand_valid: expected true or false"):
        parse_fit(row, "smplx")


def test_body_alone() -> None:
    """MPII: no hands, no face."""
    fit = parse_fit(entry(1, lhand_pose=None, rhand_pose=None, jaw_pose=None, expr=None), "smplx")
    assert set(fit.parts) == {"global_orient", "body_pose", "betas", "transl"}
    record = Record()
    put_fit(record, fit)
    assert (record.meta, record.smplx_jaw_pose, record.valid_lhand) == (None, None, None)


@pytest.mark.parametrize("wrapped", [True, False])
def test_smpl(wrapped: bool) -> None:
    """CrowdPose has the wrapper and a camera, MuCo neither."""
    values = {"pose": list(range(72)), "shape": [0.5] * 10, "trans": [1, 2, 3]}
    camera = {"focal": [5, 6], "princpt": [7, 8]}
    row = {"smpl_param": values, "cam_param": camera, "fit_err": 3.5} if wrapped else values
    fit = parse_fit(row, "smpl")
    assert fit.parts["global_orient"].tolist() == [0, 1, 2]
    assert fit.parts["body_pose"].tolist() == list(range(3, 72))
    assert (fit.focal_length is not None) == wrapped
    record = Record()
    put_fit(record, fit)
    assert record.smpl_transl.tolist() == [1, 2, 3]
    assert record.valid_smpl is True
    assert record.valid_smplx is None
    assert record.camera_kind == ("virtual" if wrapped else None)
    assert record.valid_transl is (not wrapped)


@pytest.mark.parametrize("field", ["root_pose", "body_pose", "shape", "trans", "focal", "princpt"])
def test_a_missing_field_is_named(field: str) -> None:
    with pytest.raises(KeyError, match=field):
        parse_fit(entry(1, **{field: None}), "smplx")


def test_parameters_without_their_camera() -> None:
    row = entry(1)
    del row["cam_param"]
    with pytest.raises(KeyError, match="cam_param"):
        parse_fit(row, "smplx")


@pytest.mark.parametrize("field", [*FIELDS, "focal", "princpt"])
@pytest.mark.parametrize(
    "value", [[], [1.0] * 4, "1 2 3", None, [True] * 3, [float("nan")] * 3, {}, 10**400, [[1e300] * 3]]
)
def test_values_that_no_column_holds(field: str, value: Any) -> None:
    row = entry(1)
    (row["smplx_param"] if field in FIELDS else row["cam_param"])[field] = value
    with pytest.raises((TypeError, ValueError, OverflowError)):
        parse_fit(row, "smplx")


@pytest.mark.parametrize("focal", [[0.0, 100.0], [100.0, -1.0]])
def test_a_focal_length_is_above_zero(focal: list[float]) -> None:
    with pytest.raises(ValueError, match="focal: expected lengths above 0"):
        parse_fit(entry(1, focal=focal), "smplx")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(value=JSON, where=st.sampled_from(["", "smplx_param", "cam_param", "lhand_valid", "focal", *FIELDS]))
def test_whatever_an_entry_says_only_named_errors_come(value: Any, where: str) -> None:
    row: Any = entry(1)
    if where in ("smplx_param", "cam_param"):
        row[where] = value
    elif where == "focal":
        row["cam_param"][where] = value
    elif where:
        row["smplx_param"][where] = value
    else:
        row = value
    try:
        fit = parse_fit(row, "smplx")
    except (KeyError, TypeError, ValueError, OverflowError):
        return
    assert all(np.isfinite(part.astype(np.float32)).all() for part in fit.parts.values())


# Into a record


def test_a_fit_in_a_record() -> None:
    record = Record(valid_lhand=True, valid_rhand=False, valid_face=True, meta='{"ann_id":7}')
    put_fit(record, parse_fit(entry(7, lhand_valid=False), "smplx"))
    for field, (part, _) in FIELDS.items():
        held = getattr(record, f"smplx_{part}")
        assert held is None if "hand" in part else held.tolist() == fit_values(7)[field]
    assert json.loads(record.meta or "") == {
        "ann_id": 7,
        "pending": {
            "smplx_left_hand_pose": {"relative": fit_values(7)["lhand_pose"]},
            "smplx_right_hand_pose": {"relative": fit_values(7)["rhand_pose"]},
        },
    }
    assert (record.gender, record.camera_model, record.camera_kind) == ("neutral", "pinhole", "virtual")
    assert (list(record.focal_length), list(record.principal_point)) == ([2002, 2010], [49, 36.5])
    assert (record.distortion, record.world_to_cam) == (None, None)
    assert (record.valid_smplx, record.valid_betas, record.valid_global_orient) == (True, True, True)
    assert record.valid_transl is False, "its depth is made up"
    assert (record.valid_lhand, record.valid_rhand, record.valid_face) == (False, False, True)


def test_without_a_fit() -> None:
    record = Record(valid_lhand=True)
    without_fit(record, "smplx")
    assert [getattr(record, f"valid_{name}") for name in VALIDITY] == [False] * 4
    assert (record.gender, record.focal_length, record.valid_lhand) == (None, None, True)


# A file


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Fits of 900000000001, 12, 5 and 7, in this order."""
    return write_fits(tmp_path / "fits.json", {i: entry(i) for i in (900000000001, 12, 5, 7)})


def ranges(file: Path, unit: Unit) -> dict[int, Any]:
    text = file.read_text()
    return {row[0]: json.loads(text[row[1] : row[2]]) for row in unit.payload.fits.tolist()}


def test_units_hold_the_places_of_their_own_fits(file: Path) -> None:
    first, second, third = plan_fits(file, *units((7, 3, 900000000001), (12, 12, -(2**63)), ()))
    assert first.payload.people == ("people", 0)
    assert ranges(file, first) == {7: entry(7), 900000000001: entry(900000000001)}
    assert ranges(file, second) == {12: entry(12)}
    assert [unit.payload.fits[:, 0].tolist() for unit in (first, second)] == [[7, 900000000001], [12]]
    assert ranges(file, third) == {}
    assert (first.payload.strays, second.payload.strays) == (("5",), ())
    assert (first.name, first.expected) == ("u0", 3)


def test_fits_of_nobody_are_counted_and_no_defect(tmp_path: Path) -> None:
    names = ["x", "007", "-0", "1.0", str(2**80), "-4", "8"]
    file = write_fits(tmp_path / "fits.json", {**dict.fromkeys(names, "{}"), 9: entry(9)})
    found = read(file, 9)
    assert [r.source_id for r in kept(found)] == ["9"]
    wanted = ["x", "007", "-0", "1.0", str(2**80), "-4", "8"]
    assert rejections(found) == [("fit_without_person", f"fits.json {name}", True) for name in wanted]


@pytest.mark.parametrize("content", ["{}", '{"4": {}}', '{"a": 1}', '{"images": [], "annotations": [1, 2]}'])
def test_a_file_of_other_people_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "fits.json").write_text(content)
    with pytest.raises(LayoutError, match=r"none of its \d fits has the id of a person"):
        plan_fits(tmp_path / "fits.json", *units((5, 6)))
    with pytest.raises(LayoutError, match="none of its"):
        plan_fits(tmp_path / "fits.json", *units(()))


@pytest.mark.parametrize("content", ["", "[]", '{"5": {"smplx_param": ', '{"5": {}} x'])
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "fits.json").write_text(content)
    with pytest.raises(LayoutError, match="not valid JSON"):
        plan_fits(tmp_path / "fits.json", *units((5,)))


def test_a_unit_reads_only_its_own_bytes(file: Path) -> None:
    one, other = plan_fits(file, *units((12,), (7,)))
    data = bytearray(file.read_bytes())
    (row,) = other.payload.fits.tolist()
    data[row[1] : row[2]] = b"#" * (row[2] - row[1])
    file.write_bytes(data)
    (record,) = kept(list(read_fits(file, one.payload, [Record(source_id="12")])))
    assert record.valid_smplx is True
    assert rejections(list(read_fits(file, other.payload, [Record(source_id="7")]))) == [
        ("broken_fit", "fits.json 7", False)
    ]


def test_the_last_of_two_fits_counts_and_both_are_told(tmp_path: Path) -> None:
    rows = f'{{"5": {json.dumps(entry(1))}, "6": {json.dumps(entry(6))}, "5": {json.dumps(entry(5))}}}'
    (tmp_path / "fits.json").write_text(rows)
    found = read(tmp_path / "fits.json", 5, 6)
    assert rejections(found) == [("duplicate_fit", "fits.json 5", False)]
    assert [r.smplx_betas.tolist() for r in kept(found)] == [fit_values(5)["shape"], fit_values(6)["shape"]]


def test_annotations_that_were_rejected_pass_as_they_are(file: Path) -> None:
    (unit,) = plan_fits(file, *units((12,)))
    people: list[Record | Rejected] = [Rejected("crowd", "a", by_rule=True), Record(source_id="12")]
    found = list(read_fits(file, FitUnit(None, unit.payload.fits), people))
    assert found == people


BROKEN: Mapping[str, tuple[Any, str]] = {
    "no JSON": ('{"smplx_param": {oops}}', "Expecting"),
    "no object": ("17", "fit: expected an object, found 17"),
    "null": ("null", "fit: expected an object"),
    "too deep": ("[" * 5000 + "]" * 5000, ""),
    "a field less": (entry(5, trans=None), "has no 'trans'"),
    "a number less": (entry(5, shape=[[0.0] * 9]), "shape: expected 10 numbers, found 9"),
    "NaN": (entry(5, root_pose=[float("nan")] * 3), "root_pose: NaN"),
    "another model": ({"smpl_param": {}, "cam_param": {}}, "has no 'root_pose'"),
    "hands of PCA": (entry(5, lhand_pose=[[0.0] * 12]), "lhand_pose: expected 45 numbers, found 12"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_damaged_fit_is_counted_and_its_person_kept_in_2d(tmp_path: Path, kind: str) -> None:
    content, problem = BROKEN[kind]
    file = write_fits(tmp_path / "fits.json", {4: entry(4), 5: content, 6: entry(6)})
    (unit,) = plan_fits(file, *units((4, 5, 6)))
    people = [Record(source_id=str(i), valid_lhand=True, meta='{"ann_id":1}') for i in (4, 5, 6)]
    before, rejected, broken, after = read_fits(file, unit.payload, people)
    assert isinstance(rejected, Rejected)
    assert (rejected.reason, rejected.source, rejected.by_rule) == ("broken_fit", "fits.json 5", False)
    assert problem in rejected.detail
    assert isinstance(broken, Record)
    assert json.loads(broken.meta or "") == {"ann_id": 1, "fit_rejected": "broken_fit"}
    assert [getattr(broken, f"valid_{name}") for name in VALIDITY] == [False] * 4
    given = {name for name in Record.__dataclass_fields__ if getattr(broken, name) is not None}
    assert given == {"source_id", "meta", "valid_lhand", *(f"valid_{name}" for name in VALIDITY)}
    assert all(isinstance(r, Record) and r.valid_smplx for r in (before, after))
