"""Recipes resolve, contradict themselves, and survive JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest

from hmtools.core.errors import RecipeError
from hmtools.models.smplerx.losses import LossWeights
from hmtools.models.smplerx.target_rules import REFERENCE_FAULTS as TARGET_FAULTS
from hmtools.train.mixture import STRATEGIES
from hmtools.train.recipe import (
    RECIPE_FORMAT,
    REFERENCE_FAULTS,
    LossSpec,
    Recipe,
    SetSpec,
    Strategy,
    read_recipe,
    resolve,
    write_recipe,
)


def values(**changes: Any) -> dict[str, Any]:
    return {
        "name": "mine",
        "model": {"size": "tiny", "init": "random"},
        "data": {"sets": {"mscoco": {"split": "train2017"}, "agora": {"split": "train", "every": 2}}},
        "optim": {"lr": 1e-4},
        "batch": {"global_batch": 32, "micro_batch": 8},
        "run": {"epochs": 1},
        **changes,
    }


def resolved(**changes: Any) -> Recipe:
    return resolve(values(**changes), where="mine.py")


def refused(**changes: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        resolved(**changes)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_sets_are_a_table_by_name() -> None:
    recipe = resolved()
    assert recipe.data.sets == (
        SetSpec(dataset="mscoco", split="train2017"),
        SetSpec(dataset="agora", split="train", every=2),
    )
    assert [row.name for row in recipe.data.sets] == ["mscoco/train2017", "agora/train"]


def test_use_chooses_and_orders() -> None:
    table = {"a": {"split": "x"}, "b": {"dataset": "c", "split": "y"}, "unused": {"split": "z"}}
    recipe = resolved(data={"use": ["b", "a"], "sets": table})
    assert [row.name for row in recipe.data.sets] == ["c/y", "a/x"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"optm": 1}, "mine.py: unknown key 'optm'; did you mean 'optim'?"),
        ({"optim": {"lr": 1, "end_lrr": 1}}, "mine.py: unknown key 'optim.end_lrr'; did you mean 'end_lr'?"),
        ({"model": {"size": "tiny"}}, "mine.py: model.init: is missing"),
        (
            {"model": {"size": "xl", "init": "random"}},
            "model.size: expected one of tiny, s, b, l, h, found 'xl'",
        ),
        ({"data": {"sets": []}}, "data.sets: a training needs at least one set"),
        ({"data": {"sets": {"a": 3}}}, "data.sets.a: expected a table, found 3"),
        (
            {"data": {"use": ["mscocoo"], "sets": {"mscoco": {"split": "x"}}}},
            "data.use: there is no row 'mscocoo' in data.sets; did you mean 'mscoco'?",
        ),
        ({"data": {"use": "a", "sets": {"a": {"split": "x"}}}}, "data.use: expected a list of names"),
        (
            {"data": {"sets": {"a": {"split": "x"}, "b": {"dataset": "a", "split": "x"}}}},
            "data.sets: a/x is there more than once",
        ),
        (
            {"data": {"sets": {"a": {"split": "x", "weight": 2}}}},
            "weights are there, but data.strategy is 'balance'; set it to 'weights'",
        ),
        (
            {"data": {"strategy": "weights", "sets": {"a": {"split": "x", "weight": 0}}}},
            "data.sets: a/x has weight 0; leave it out",
        ),
        (
            {"batch": {"global_batch": 20, "micro_batch": 8}},
            "batch.global_batch: 20 is no multiple of micro_batch",
        ),
        (
            {"batch": {"global_batch": 20, "micro_batch": 1}},
            "batch.micro_batch: size tiny normalises over a pass; take 2 people or more",
        ),
        (
            {"reference_faults": ["face_eye"]},
            "reference_faults: unknown 'face_eye'; did you mean 'face_eyes'? (known: face_eyes, ",
        ),
    ],
)
def test_what_is_refused(changes: dict[str, Any], expected: str) -> None:
    assert expected in refused(**changes)


def test_all_problems_come_at_once() -> None:
    said = refused(optim={}, batch={"global_batch": 0, "micro_batch": 8}, seed=3)
    assert said.splitlines() == [
        "mine.py: unknown key 'seed' (known here: name, title, model, data, augment, loss, optim, batch, "
        "validate, run, max_beta, reference_faults)",
        "mine.py: optim.lr: is missing",
        "mine.py: batch.global_batch: expected at least 1, found 0",
    ]


def test_the_fault_of_the_mixture_is_a_strategy() -> None:
    assert resolved().data.strategy == "balance"
    assert resolved(reference_faults=["balance_fixed"]).data.strategy == "balance-smplerx"
    other = {**values()["data"], "strategy": "concat"}
    assert resolved(reference_faults=["balance_fixed"], data=other).data.strategy == "concat"


def test_names_agree_with_those_who_act_on_them() -> None:
    assert {row.name: row.default for row in fields(LossSpec)} == {
        row.name: row.default for row in fields(LossWeights)
    }
    assert LossWeights(**asdict(LossSpec())) == LossWeights()
    assert set(REFERENCE_FAULTS) == {*TARGET_FAULTS, "balance_fixed", "agora_person_zero"}
    assert Strategy.__args__ == STRATEGIES  # type: ignore[attr-defined]


def test_json_round_trip(tmp_path: Path) -> None:
    table = {
        "mscoco": {"split": "train2017", "weight": 2, "query": "frame < 3", "options": {"labels": "body"}}
    }
    recipe = resolved(
        data={"strategy": "weights", "sets": table},
        reference_faults=["face_eyes"],
        validate={"sets": [{"dataset": "ehf", "split": "test"}], "limit": None},
        optim={"lr": 2e-5, "clip_norm": 1, "ema": 0.999},
    )
    path = tmp_path / "recipe.json"
    write_recipe(path, recipe)
    assert read_recipe(path) == recipe


def test_json_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "recipe.json"
    for content, expected in {
        '{"format": "other"}': f"expected a resolved recipe of format {RECIPE_FORMAT}, found 'other'",
        "[]": "found None",
        "{": "cannot be read as a resolved recipe",
        json.dumps({"format": RECIPE_FORMAT, "name": "x"}): "model: is missing",
    }.items():
        path.write_text(content)
        with pytest.raises(RecipeError, match=r"recipe\.json") as caught:
            read_recipe(path)
        assert expected in str(caught.value)
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(tmp_path / "none.json")
