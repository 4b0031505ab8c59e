"""The shipped recipes of SMPLer-X against what was published about its configs."""

from __future__ import annotations

import math
from functools import cache

import pytest

from hmtools.datasets.registry import all_datasets
from hmtools.models.published_weights import PUBLISHED
from hmtools.train.plan import PARAMETERS
from hmtools.train.recipe import REFERENCE_FAULTS, ModelSpec, Recipe, recipe_json, resolve
from hmtools.train.recipe_check import build_on_meta, check_recipe
from hmtools.train.recipe_files import load_training, training_names
from hmtools.train.sets import TRAIN_SETS

SIZES = ("s", "b", "l", "h")
EPOCHS = {"5": 750_000, "10": 1_500_000, "20": 3_000_000, "32": 4_500_000}
TUNED = ("agora", "3dpw", "ubody", "egobody", "arctic", "renbody")
INTERVALS = {
    **dict.fromkeys(("bedlam", "mpi_inf_3dhp", "renbody_hires"), 5),
    **dict.fromkeys(("ubody", "egobody_kinect", "insta_variety", "arctic", "fit3d", "talkshow"), 10),
}
ORDER = [
    "mscoco", "agora", "ubody", "pw3d", "mpii", "human36m", "bedlam", "spec", "gta_human2", "synbody",
    "posetrack", "egobody_egocentric", "prox", "crowdpose", "egobody_kinect", "mpi_inf_3dhp", "rich", "muco",
    "insta_variety", "behave", "up3d", "arctic", "ochuman", "chi3d", "renbody_hires", "mtp", "humansc3d",
    "renbody", "fit3d", "talkshow", "ssp3d", "lspet",
]  # fmt: skip


@cache
def loaded(name: str) -> Recipe:
    return load_training(name)


@cache
def numbers(model: ModelSpec) -> int:
    return build_on_meta(next(loaded(name) for name in training_names() if loaded(name).model == model))


def names_of(recipe: Recipe) -> list[str]:
    return [row.dataset for row in recipe.data.sets]


def test_all_are_there() -> None:
    mixed = {f"{size}{count}" for size in SIZES for count in EPOCHS} | {f"ft_{name}" for name in TUNED}
    wanted = {f"smplerx/{name}" for name in mixed} | {f"smplerx/published/{name}" for name in mixed}
    assert set(training_names()) == wanted | {"smplerx/tiny/demo", "smplerx/tiny/micro"}


@pytest.mark.parametrize("name", training_names())
def test_every_recipe_resolves_and_builds(name: str) -> None:
    recipe = loaded(name)
    assert check_recipe(recipe) == []
    assert numbers(recipe.model) == PARAMETERS[recipe.model.size]
    values = {key: value for key, value in recipe_json(recipe).items() if key != "format"}
    assert resolve(values, where=name) == recipe
    assert recipe.title


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("count", EPOCHS)
def test_mixed_trainings(size: str, count: str) -> None:
    recipe, row = loaded(f"smplerx/{size}{count}"), PUBLISHED[f"smplerx-{size}{count}"]
    names = names_of(recipe)
    assert len(names) == int(count)
    assert set(names) == set(row.datasets)
    assert names == [name for name in ORDER if name in names]
    assert {spec.dataset: spec.every for spec in recipe.data.sets if spec.every > 1} == {
        name: every for name, every in INTERVALS.items() if name in names
    }
    assert (recipe.data.epoch_size, recipe.data.strategy) == (EPOCHS[count], "balance")
    assert (recipe.model.size, recipe.model.init) == (size, f"vitpose-{size}")
    lr = 2e-5 if (size, count) == ("l", "5") else 1e-5
    assert (recipe.optim.lr, recipe.optim.end_lr, recipe.run.epochs) == (lr, 1e-6, 10)
    batch = recipe.batch
    assert (batch.global_batch, batch.micro_batch) == ((256, 16) if size == "h" else (512, 32))
    assert batch.assumed == ((size, count) != ("h", "32"))


@pytest.mark.parametrize("name", TUNED)
def test_fine_tunings(name: str) -> None:
    recipe, row = loaded(f"smplerx/ft_{name}"), PUBLISHED[f"smplerx-h-ft-{name}"]
    assert names_of(recipe) == list(row.datasets)
    assert {spec.dataset for spec in recipe.data.sets if spec.every > 1} <= {"ubody", "talkshow"}
    assert all(spec.every == 10 for spec in recipe.data.sets if spec.dataset in ("ubody", "talkshow"))
    assert (recipe.model.size, recipe.model.init) == ("h", row.start)
    assert (recipe.data.epoch_size, recipe.run.epochs) == (1_000_000, 5)
    assert (recipe.optim.lr, recipe.optim.end_lr) == (1e-5, 5e-7)
    assert (recipe.batch.global_batch, recipe.batch.micro_batch, recipe.batch.assumed) == (256, 16, True)
    assert recipe.loss.camera_only == (name == "agora")


@pytest.mark.parametrize("name", [name for name in training_names() if "/published/" in name])
def test_published_code_and_ours_differ_in_faults_only(name: str) -> None:
    theirs, ours = recipe_json(loaded(name)), recipe_json(loaded(name.replace("/published/", "/")))
    assert set(theirs.pop("reference_faults")) == set(REFERENCE_FAULTS)
    assert ours.pop("reference_faults") == []
    assert (theirs["data"].pop("strategy"), ours["data"].pop("strategy")) == ("balance-smplerx", "balance")
    assert (theirs["run"].pop("precision"), ours["run"].pop("precision")) == ("fp32", "bf16")
    for recipe in (theirs, ours):
        del recipe["name"], recipe["title"]
    assert theirs == ours


def test_every_set_has_its_row_of_targets_and_a_count() -> None:
    sets = {row.dataset: row for row in loaded("smplerx/h32").data.sets}
    assert list(sets) == ORDER
    assert set(sets) == set(TRAIN_SETS)
    assert all(row.people for row in sets.values())


def test_converters_keep_what_recipes_ask_for() -> None:
    asked: dict[tuple[str, str], list[int]] = {}
    for name in training_names():
        recipe = loaded(name)
        for row in (*recipe.data.sets, *recipe.validate.sets):
            asked.setdefault((row.dataset, row.split), []).append(row.every)
    known = {key: kind for key in asked if (kind := all_datasets().get(key[0]))}
    assert {"mscoco", "agora", "ubody", "pw3d", "egobody_egocentric", "ehf"} <= {key[0] for key in known}
    for (dataset, split), kind in known.items():
        assert math.gcd(*asked[dataset, split]) == kind.every.get(kind.splits[split], 1), (dataset, split)


def test_tiny_recipes_need_no_files_but_shards() -> None:
    for name in ("smplerx/tiny/demo", "smplerx/tiny/micro"):
        assert (loaded(name).model.init, loaded(name).model.size) == ("random", "tiny")
