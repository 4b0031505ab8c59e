"""What a recipe says about sets that this version knows, and its network."""

from __future__ import annotations

import pytest

from hmtools.train.plan import PARAMETERS
from hmtools.train.recipe_check import build_on_meta, check_recipe
from hmtools.train.recipe_files import load_training

TINY = "smplerx/tiny/demo"


def test_a_shipped_recipe_has_no_problem() -> None:
    assert check_recipe(load_training("smplerx/h32")) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            "data.sets.mscoco.split=train2071",
            "mscoco/train2071: there is no such split (its splits: train2017, ",
        ),
        ("data.sets.mscoco.query=frame <", "mscoco/train2017: query: "),
        ("data.sets.mscoco.options={'label': 'body'}", "mscoco/train2017: mscoco has no option 'label'"),
        ("data.sets={'ubody': {'split': 'intra_train', 'every': 15}}", "every 15 is no multiple of 10"),
        ("augment.scale=0.9", "mscoco/train2017: scale 0.9 and rotation 30 look at"),
        ("data.sets={'mscocoo': {'split': 'x'}}", "no training set 'mscocoo'; did you mean 'mscoco'"),
        ("validate.sets=[{'dataset': 'ehf', 'split': 'train'}]", "ehf/train: there is no such split"),
    ],
)
def test_problems(change: str, expected: str) -> None:
    problems = check_recipe(load_training(TINY, [change]))
    assert len(problems) == 1
    assert expected in problems[0]


def test_numbers_of_the_networks() -> None:
    built = {size: build_on_meta(load_training(TINY, [f"model.size={size}"])) for size in PARAMETERS}
    assert built == PARAMETERS
