"""The table of published weights agrees with itself and with what hmtools knows."""

from __future__ import annotations

from hmtools.models.published_weights import LICENCES, PUBLISHED, published_by_file
from hmtools.models.sizes import SIZES


def test_every_size_and_number_of_sets_of_smplerx_is_there() -> None:
    names = {f"smplerx-{size}{count}" for size in "sblh" for count in (5, 10, 20, 32)}
    tuned = {f"smplerx-h-ft-{name}" for name in ("agora", "egobody", "ubody", "3dpw", "arctic", "renbody")}
    assert names | tuned | {"smplerx-h32-updated"} == {
        n for n, r in PUBLISHED.items() if r.model == "smplerx"
    }
    for name in names:
        row = PUBLISHED[name]
        assert len(set(row.datasets)) == int(name.removeprefix("smplerx-")[1:])
        assert row.data == f"{len(row.datasets)} datasets"
    assert all(
        PUBLISHED[name].start == "smplerx-h32" and len(PUBLISHED[name].datasets) >= 5 for name in tuned
    )
    assert {d for name in tuned for d in PUBLISHED[name].datasets} <= set(PUBLISHED["smplerx-h32"].datasets)


def test_rows_name_a_size_and_a_licence() -> None:
    for name, row in PUBLISHED.items():
        assert row.name == name
        assert row.size in SIZES
        assert row.licence is LICENCES[row.model]
        assert (row.decoder is None) == (row.model == "smplerx" or name == "vitpose-s-simple")
        assert row.start is None or row.start in PUBLISHED
    assert not LICENCES["smplerx"].commercial_use
    assert LICENCES["vitpose"].name == "Apache-2.0"


def test_rows_are_found_by_the_name_of_their_file() -> None:
    files = [row.file for row in PUBLISHED.values() if row.file]
    assert len(files) == len(set(files)) == 16
    assert published_by_file("SMPLer_X_H32.pth.tar") is PUBLISHED["smplerx-h32"]
    for name in ("smpler_x_h32.pth", "x_smpler_x_h32.pth.tar", "vitpose.pth", ""):
        assert published_by_file(name) is None
