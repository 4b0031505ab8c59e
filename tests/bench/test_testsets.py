from __future__ import annotations

import pytest

from hmtools.bench.protocols.registry import get_protocol
from hmtools.bench.published import MPE_SETS
from hmtools.bench.testsets import chosen_protocols, find_testset
from hmtools.core.errors import UsageError


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *(("3DPW", "3dpw"), ("PW3D", "3dpw"), ("pw3d", "3dpw"), ("EHF", "ehf"), ("agora", "agora")),
        *(("AGORA-val", "agora"), ("EgoBody", "egobody"), ("egobody_egocentric", "egobody")),
        *(("EgoSet", "egobody"), ("UBody", "ubody"), ("UBody-inter", "ubody_inter")),
        *(("ubody_intra", "ubody"), ("ubody inter scene", "ubody_inter")),
    ],
)
def test_names_as_people_write_them(written: str, meant: str) -> None:
    assert find_testset(written) == meant


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(
        UsageError, match=r"unknown test set '3DPWW'; did you mean '3dpw'.*known: 3DPW, AGORA"
    ):
        find_testset("3DPWW")


def test_all_is_the_five_sets_of_mpe_in_the_order_of_the_table() -> None:
    kinds = chosen_protocols("ALL")
    assert [kind.testset for kind in kinds] == list(MPE_SETS)
    assert {kind.id for kind in kinds} == {"smplerx@1"}
    assert chosen_protocols("all", "smplerx") == kinds
    with pytest.raises(UsageError, match=r"smplerx@1 defines; found --protocol wham"):
        chosen_protocols("all", "wham")


def test_a_set_has_a_default_and_others_by_id() -> None:
    assert chosen_protocols("3dpw")[0].id == "smplerx@1"
    assert chosen_protocols("3dpw", "spin")[0] is get_protocol("3dpw", "spin@1")
    with pytest.raises(UsageError, match=r"3dpw has no protocol 'spinn'; did you mean 'spin@1'"):
        get_protocol("3dpw", "spinn")
    with pytest.raises(UsageError, match=r"unknown test set '3dp'; did you mean '3dpw'"):
        get_protocol("3dp")
