from __future__ import annotations

import pytest

from hmtools.core.errors import UsageError
from hmtools.datasets.registry import all_datasets
from hmtools.models.smplerx.target_rules import RULES
from hmtools.train.augment import check_window
from hmtools.train.recipe import AugmentSpec
from hmtools.train.sets import PADDED, TRAIN_SETS, train_set

OWN_LOADERS = {"mscoco": 1.2, "mpii": 1.2, "human36m": 1.2, "pw3d": 1.2, "ubody": 1.25, "agora": PADDED}


def test_every_set_of_the_published_training_has_a_row() -> None:
    assert len(TRAIN_SETS) == 32
    assert len({kind.published for kind in TRAIN_SETS.values()}) == 32
    for name, kind in TRAIN_SETS.items():
        assert name.replace("_", "") == kind.published.lower().replace("_", "")
        assert kind.box_ratio == OWN_LOADERS.get(name, PADDED)


def test_rules() -> None:
    special = {**{name: name for name in OWN_LOADERS}, "talkshow": "talkshow"}
    special |= {"renbody": "renbody", "renbody_hires": "renbody"}
    for name, kind in TRAIN_SETS.items():
        assert kind.rule is RULES[special.get(name, "humandata")], name


def test_stored_crops_hold_what_training_looks_at() -> None:
    """For every set with a converter: its padding at conversion, the published augmentation."""
    there = set(all_datasets()) & set(TRAIN_SETS)
    assert there >= {"agora", "mscoco", "pw3d", "ubody", "egobody_egocentric"}
    for name in there:
        check_window(AugmentSpec(), TRAIN_SETS[name].box_ratio, all_datasets()[name].box_ratio, name)


def test_sets_without_a_row_go_by_their_converter() -> None:
    kind = train_set("ehf")
    assert kind.rule is RULES["humandata"]
    assert kind.box_ratio == all_datasets()["ehf"].box_ratio
    with pytest.raises(UsageError, match="no training set 'agra'; did you mean 'agora'"):
        train_set("agra")
