"""The table of files is consistent with itself."""

from __future__ import annotations

from urllib.parse import urlsplit

from hmtools.bodies.catalogue import CATALOGUE, FAMILY_TITLES, KIND_TITLES, model_key
from hmtools.bodies.model import FAMILIES, GENDERS, VERTICES


def test_every_family_and_gender_has_a_model() -> None:
    for family in FAMILIES:
        for gender in GENDERS:
            row = CATALOGUE[model_key(family, gender)]
            assert (row.kind, row.family, row.gender, row.locked_head) == ("model", family, gender, False)


def test_rows_say_what_people_need_to_know() -> None:
    for key, row in CATALOGUE.items():
        assert row.key == key == key.lower()
        assert row.what
        assert row.needed_by
        assert row.licence
        assert urlsplit(row.page).scheme == "https"
        assert row.names
        assert all(name.endswith((".npz", ".npy", ".pkl")) for name in row.names)
        assert (row.shape is None) == (row.kind == "model") == (row.gender is not None)
        assert row.family in FAMILY_TITLES
        assert row.kind in KIND_TITLES


def test_the_first_name_is_one_to_write_under() -> None:
    """Clean copies take it, so it is no pattern and no pickle, and no two rows share it."""
    firsts = [(row.locked_head, row.family, row.names[0]) for row in CATALOGUE.values()]
    assert len(set(firsts)) == len(firsts)
    assert not any(set("*?[") & set(name) or name.endswith(".pkl") for _, _, name in firsts)


def test_shapes_fit_their_meshes() -> None:
    for row in CATALOGUE.values():
        if row.kind in ("template", "transfer"):
            assert row.shape is not None
            assert row.shape[0] == VERTICES[row.family]
        if row.kind == "regressor":
            assert row.shape is not None
            assert row.shape[1] == VERTICES[row.family]
