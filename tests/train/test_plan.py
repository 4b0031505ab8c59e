"""What a training would do, and what it says when it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from hmtools.core.errors import CheckpointError, LayoutError, RecipeError, UsageError
from hmtools.train.plan import TrainPlan, make_plan, require_ready
from hmtools.train.recipe_files import load_training
from tests.train.manifests import pretend_converted

SETS = [
    "data.use=mscoco,agora,bedlam",
    "data.epoch_size=1000",
    "validate.sets=[]",
]
COMMAND = ("hmtools", "train", "smplerx/h5", "--gpus", "8")


def plan(folder: Path, *changes: str, gpus: int | None = 8, allow_missing: bool = False) -> TrainPlan:
    recipe = load_training("smplerx/h5", [*SETS, *changes])
    return make_plan(
        recipe, shards=folder, gpus=gpus, checkpoints=folder / "weights", allow_missing=allow_missing
    )


def shares(found: TrainPlan) -> list[int | None]:
    return [row.per_epoch for row in found.sets]


def refused(found: TrainPlan, command: Sequence[str] = COMMAND) -> list[str]:
    with pytest.raises((LayoutError, CheckpointError, RecipeError)) as caught:
        require_ready(found, command)
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


def test_nothing_is_converted(tmp_path: Path) -> None:
    found = plan(tmp_path / "none")
    assert [row.state for row in found.sets] == ["not converted", "not converted", "no converter"]
    assert shares(found) == [334, 333, 333]
    assert str(found.batch).startswith("global batch 256 = 8 gpus x 16 x accumulation 2")
    assert (found.epoch_size, found.steps_per_epoch, found.steps) == (1000, 3, 30)
    assert found.checkpoint_bytes == 661_827_096 * 4 * 3
    assert plan(tmp_path, "optim.ema=0.99").checkpoint_bytes == 661_827_096 * 4 * 4
    assert plan(tmp_path, "run.max_steps=7").steps == 7
    assert plan(tmp_path, "run.max_steps=70").steps == 30
    small = plan(tmp_path, "data.epoch_size=255", "run.max_steps=7")
    assert (small.steps_per_epoch, small.steps) == (0, 0)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["data.strategy=concat"], [149_813, 106_700, 190_220]),
        (["data.epoch_size=none"], [148_911] * 3),
        (["data.strategy=weights", "data.sets.agora.weight=8"], [100, 800, 100]),
        (["data.strategy=concat", "data.sets.bedlam.people=none"], [149_813, 106_700, None]),
        (["data.epoch_size=none", "data.sets.bedlam.people=none"], [None, None, None]),
    ],
)
def test_strategies(tmp_path: Path, changes: list[str], expected: list[int | None]) -> None:
    found = plan(tmp_path, *changes)
    assert shares(found) == expected
    known = [share for share in expected if share is not None]
    assert found.epoch_size == (sum(known) if len(known) == 3 else None)
    assert (found.steps is None) == (len(known) < 3)


def test_missing_sets_give_their_share_away(tmp_path: Path) -> None:
    pretend_converted(tmp_path, "mscoco/train2017", 50)
    pretend_converted(tmp_path, "bedlam/training", 50, every=5)
    found = plan(tmp_path, allow_missing=True)
    assert shares(found) == [500, None, 500]
    assert [row.spec.dataset for row in found.used] == ["mscoco", "bedlam"]
    assert [row.spec.dataset for row in found.missing] == ["agora"]
    assert shares(plan(tmp_path)) == [334, 333, 333]


def test_what_is_said_about_missing_sets(tmp_path: Path) -> None:
    found = plan(tmp_path, "model.init=random", "validate.sets=[{'dataset': 'ehf', 'split': 'test'}]")
    assert refused(found) == [
        "smplerx/h5: 3 of its 3 sets are not converted, and 1 of the 1 it is validated on.",
        "Convert them:",
        "  hmtools convert mscoco --split train2017",
        "  hmtools convert agora --split train",
        "  hmtools convert ehf --split test",
        "No converter in this version (1); --allow-missing trains without them: bedlam/training",
        "None of its sets is there, so there is nothing to train on.",
    ]
    pretend_converted(tmp_path, "agora/train", 50)
    assert refused(plan(tmp_path, "model.init=random")) == [
        "smplerx/h5: 2 of its 3 sets are not converted.",
        "Convert them:",
        "  hmtools convert mscoco --split train2017",
        "No converter in this version (1); --allow-missing trains without them: bedlam/training",
        "Or train without them; their share of an epoch goes to agora/train:",
        "  hmtools train smplerx/h5 --gpus 8 --allow-missing",
    ]
    require_ready(plan(tmp_path, "model.init=random", allow_missing=True), COMMAND)


def test_nothing_is_left_to_train_on(tmp_path: Path) -> None:
    lines = refused(plan(tmp_path, "model.init=random", "data.use=[bedlam]"))
    assert lines[1] == "No converter in this version (1): bedlam/training"
    lines = refused(plan(tmp_path, "model.init=random", allow_missing=True))
    assert lines[-1] == "None of its sets is there, so there is nothing to train on."


def test_missing_weights(tmp_path: Path) -> None:
    for name in ("mscoco/train2017", "agora/train", "bedlam/training"):
        pretend_converted(tmp_path, name, 50)
    assert refused(plan(tmp_path)) == [
        "the weights vitpose-h are not here.",
        "  looked for  vitpose-h.safetensors",
        f"  in          {tmp_path / 'weights'} (no such folder)",
        "  get them at https://github.com/ViTAE-Transformer/ViTPose (Apache-2.0)",
        "  then        hmtools weights import FILE --name vitpose-h",
        "Or start from random weights:",
        "  hmtools train smplerx/h5 --gpus 8 --init random",
    ]
    for given in (("--init", "nope.pth"), ("--init=nope.pth",)):
        command = (*COMMAND[:3], *given, *COMMAND[3:])
        assert refused(plan(tmp_path), command)[-1] == "  hmtools train smplerx/h5 --gpus 8 --init random"
    (tmp_path / "weights").mkdir()
    file = tmp_path / "weights/vitpose-h.safetensors"
    file.touch()
    found = plan(tmp_path)
    assert found.weights == file
    require_ready(found, COMMAND)
    drawn = plan(tmp_path, "model.init=random")
    assert (drawn.weights, drawn.weights_problem) == (None, "")


def test_sets_and_weights_are_missed_together(tmp_path: Path) -> None:
    lines = refused(plan(tmp_path))
    assert "  hmtools convert agora --split train" in lines
    assert lines[-1] == "  hmtools train smplerx/h5 --gpus 8 --init random"


def test_shards_that_contradict_the_recipe(tmp_path: Path) -> None:
    for name in ("mscoco/train2017", "agora/train"):
        pretend_converted(tmp_path, name, 50)
    pretend_converted(tmp_path, "bedlam/training", 50, every=3)
    lines = refused(plan(tmp_path, "model.init=random"))
    assert lines[0] == "smplerx/h5: sets that do not fit it"
    assert "bedlam/training: the recipe keeps every 5, its shards hold every 3" in lines[1]
    assert (
        "agora/train2: there is no such split" in refused(plan(tmp_path, "data.sets.agora.split=train2"))[1]
    )


def test_gpus_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nearest: --gpus 4 or --gpus 8"):
        plan(tmp_path, gpus=6)
