"""Validation sets are checked before anything is trained, and their queries count."""

from __future__ import annotations

from pathlib import Path

import pytest

from hmtools.core.errors import UsageError
from hmtools.humandata.schema import RecordSpec
from hmtools.shards.reader import Shards
from hmtools.train.run_folder import RunOptions
from hmtools.train.validate import require_measurable, validated_rows, validation_sets
from tests.train.small_runs import small_recipe
from tests.train.written_splits import boxed, coded, png, write_boxes, write_split


def check(shards: Path, row: str, *changes: str) -> None:
    recipe = small_recipe(f"validate.sets=[{row}]", *changes)
    options = RunOptions(shards=str(shards), sets=(), validation=(recipe.validate.sets[0].name,))
    require_measurable(recipe, validation_sets(recipe, options))


def test_sets_that_can_be_measured(small_shards: Path) -> None:
    check(small_shards, "{'dataset': 'ehf', 'split': 'test'}")
    check(small_shards, "{'dataset': 'ehf', 'split': 'test'}", "validate.metric=pa_pve_all")
    check(small_shards, "{'dataset': 'mscoco', 'split': 'train2017', 'every': 2, 'query': 'width > 1'}")


def test_a_metric_that_a_set_does_not_have(small_shards: Path) -> None:
    with pytest.raises(UsageError, match=r"validate\.metric: ehf/test has no pve_al; it has pve_all, "):
        check(small_shards, "{'dataset': 'ehf', 'split': 'test'}", "validate.metric=pve_al")


def test_a_query_that_leaves_nobody(small_shards: Path) -> None:
    with pytest.raises(UsageError, match="the query 'width > 9999' leaves nobody to validate on"):
        check(small_shards, "{'dataset': 'ehf', 'split': 'test', 'query': 'width > 9999'}")


def test_a_set_without_fits(tmp_path: Path) -> None:
    write_boxes(tmp_path / "mscoco" / "val2017", "mscoco", 3)
    with pytest.raises(
        UsageError, match=r"holds no bodies, .*; or leave mscoco/val2017 out of validate\.sets"
    ):
        check(tmp_path, "{'dataset': 'mscoco', 'split': 'val2017'}")


def test_agora_person_zero_leaves_the_last_person_of_an_image(tmp_path: Path) -> None:
    people = [boxed(image_path=f"{name}.png") for name in ("a", "b", "b", "c", "a")]
    spec = RecordSpec("agora", "validation")
    folder = write_split(tmp_path / "agora/validation", spec, people, [png(coded())] * 5)
    row = "validate.sets=[{'dataset': 'agora', 'split': 'validation'}]"
    for faults, rows in (("[]", [0, 1, 2, 3, 4]), ("['agora_person_zero']", [2, 3, 4])):
        recipe = small_recipe(row, f"reference_faults={faults}")
        assert validated_rows(recipe.validate.sets[0], Shards(folder), recipe).tolist() == rows
