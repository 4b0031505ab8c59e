"""Published figures: what the sources say, and that they carry their marks."""

from __future__ import annotations

import numpy as np

from hmtools.bench.published import MPE, MPE_SETS, PUBLISHED, TITLES, figures, published_value
from hmtools.models.published_weights import PUBLISHED as WEIGHTS


def test_the_means_are_of_the_readme_and_the_sets_are_recalled() -> None:
    assert [f.value for f in figures("smplerx@1", MPE, MPE)] == [82.6, 74.3, 66.2, 63.0, 59.7]
    assert {f.recalled for f in figures("smplerx@1", MPE, MPE)} == {False}
    assert {f.recalled for f in PUBLISHED if f.testset != MPE} == {True}
    assert figures("smplerx@2", MPE, MPE) == ()


def test_the_five_sets_agree_with_the_means() -> None:
    for mean in figures("smplerx@1", MPE, MPE)[:4]:
        own = [f.value for f in PUBLISHED if f.model == mean.model and f.testset in MPE_SETS]
        assert len(own) == 5
        assert abs(np.mean(own) - mean.value) < 0.11


def test_models_and_sets_have_known_names() -> None:
    assert {f.model for f in PUBLISHED} <= set(WEIGHTS)
    assert {f.testset for f in PUBLISHED} <= set(TITLES)
    for figure in figures("smplerx@1", MPE, MPE):
        assert WEIGHTS[figure.model].figure == f"MPE {figure.value} mm"


def test_a_value_needs_official_rows_and_a_licensed_body() -> None:
    asked = ("smplerx@1", "agora", "pve_all", "smplerx-l32")
    assert published_value(*asked, rows="official", standin=False) == 74.2
    assert published_value(*asked, rows="derived", standin=False) is None
    assert published_value(*asked, rows="official", standin=True) is None
