"""Dataframes as the pandas of 2019 to today pickle them. Forged ones are in test_pickle_pandas_forged.py."""

from __future__ import annotations

import base64
import pickle
import subprocess
import sys
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from hmtools.core.errors import AssetError, HmtoolsError, UnsafeFileError
from hmtools.core.pickle_pandas import PANDAS, PickledFrame
from hmtools.core.safe_pickle import load_pickle

JOINTS = [[np.arange(4.0).reshape(2, 2), np.ones((2, 2))], [np.zeros((2, 2))], []]

# frame = pandas.DataFrame({
#     "imgPath": ["ag_0.png", "hdri_1.png", "cam00_2.png"], "camX": [0, 0, 7], "camYaw": [0.0, 0.5, -1.25],
#     "kid": [[False, True], [False], [True]], "joints": JOINTS})
# filtered: frame[frame.camYaw >= 0]; text: frame[["imgPath"]].astype("string") with None in its second row
# base64.b85encode(zlib.compress(pickle.dumps(frame, 4), 9)), under the named pandas (Python 3.8 below 1.5)
RECORDED = {
    "plain 0.25.3": (
        "c-oCrO>fgc5Vd1F2`v>WqN2T2Z~$CYvJ%7rAw(+zNW~&WJ;5Qe*3Q=JHg=-5O^HM$IHWYvUZB(8!(ZViaNrKJb|N{c1=)jVK"
        "jyuid7jzN`sGbS$%a@Rkf=*y%j<J$9dZ&<5Z7LiguKe;7qImOPQet0)5T2?n??U1N+^#=FSbGw5ufrH#P#RBzIXg4U*~wUg9"
        "Pidz%KnrW6LEm-nZmL^u*bddkA35!kEtG&3b<ET9k%^VGa+|UJ?+_$q?^zIQ9Bbobc335F(7s5kw8I%UmwNRz}cLUHA$IVA`"
        "r}jDW2Pqniu|GDT6@e~do1nxAVz{RHiH`}H3j*~i{Vz#YphYC-6~B?$wedn9}ZqKf7{IRT*^2VGnq^-+`<C<25YNeSEO8Pc*"
        "9u~DV~Cy_5DIFPoGHrs9sBTfiUFfyUXNq+zs8BQop)Qpp2MC=y3Ez@Hg)8tfJI|H^UDu;7PJ)KKRkx8}Im6`E#C%3<U03QE?"
        "J(yu<I}30tN^N4xxwVY@ZYFe{_)fzbL_TW6x;${2`C=LMZZw>S*$N%U=cvM%bl{wns!_2k$oXvCx-%QeuSuTDZf@$k<uT3Ur"
        "?{(D;xU%RL%2F51*SoBCX=nO8?qEuOMb&B7m7U~GVJYXk^LWVe?fpY0hsI_Guaj`py(+Udc$fyvYL5^60BrkOQPz^-jC&fk^"
        "9vTq?gK*C!!wu+`&V9AnI-!VEaZmHR4|2$qqz~w7iy58O}HMl6_~FnRdn9ecUY#bgxir+QjMwQB#`6Sw}k9^7z2XCuREBIU!"
        "9*_QrG|b*;aHP`R@"
    ),
    "plain 1.3.5": (
        "c-oy*&1(}u6i>37CTXRhplwm4poi8&h@KRL79)Z#uF{hp!ZN!%+1Yl#n4KjCEa;(40(0y0@9{qo{{#=-_04R8`8pJ5*?se7-"
        "^cIG%<p|Mzx^;PddQm@NqmyGy_C~-pOct^Y`r9cywdY4IQ$Cda3D=54mimB^X6e9C{IX~w_}o!fbtyVjTcesoxLq}beFAuk$"
        "56aBmCLO2p1uV)cU>kkzD1Drmchy9Ic@71)RVE+de!8X(oOcgH_9I0j|8A6md2zW5h*-u{kG0MB#AirAaP$;R%(kt_=|Z=F}"
        "!vU{x-lTXkWif?HL5j7wlUvhIsvrYe`U@F`5j<$ps~pM!1NZ~oxWAFF~0Cf(i2(r8R2D1c432oY9-71i@7^i*8TRI{oo>?OW"
        "zi*5g_kKLM<#_q5^g^=A{#J4YN{W(<Z;WaS*JSyey?+O!pgz1g{0AS1jyj$3o&r92Kq#*S0$}~yfblO=GfZSw051q%QvgMJu"
        "({Y|?4Gkw_+Jgz{!5H6z)x0&UhIyY&y8DY|{hF3lIW9%>7}nxm_MiE!O68AOt`A{#s1R5NUB82<JeWHkV=B!#XLTeawJmaYk"
        "s&_)M3EmPM}}@XiXN}k8eS+?$og!qx#}Z-*HlqQ#nMO92;<;A5e)f+hw%aA28xel0Ma-MeN<0Vq-3tkK+363U>Ewb4CLNASe"
        "zt*!gZqL92PdR@!|`lJ@QSOxkxj>OM?@Nld6tM)dw34(hhmAu+RFC6H`HSF+JoD5du35_J9qiACW*$cSsbagWU0p4B15lbt2"
        "+Y>^0-OaNB<YT|l$y"
    ),
    "plain 1.5.3": (
        "c-oCrPm9w)6i<`X)?IN~M6D<yp6bC+JqZfCSP?W>Wlwr2!z7tavdup-6KcT)J-FM--1hl-{3?C~58n07q{Y@2b|+-syyX4)y"
        "_xyF&-V9kwxNgIEoc@{?)Z7hoWqi)4CLh(RM3}teFhJ{z%g{CP13Lgd3V`7&IBtnns6tj84X#<L0);D<o@VQt)siVG4~)z?D"
        "2mtAa_WW6|p}`81a;kGQOTwX)&pzr&S_iT9$NzQAx@CJmaFQe4z}R+7M(5V{4N$aE-6fZ+LJD2hepJ_*f?p?Z{>zCWWd*nuk"
        "wdHm(0#vhfTCgTd=RIP~Ni0=!wjW2}syd$s)i1Ms(OdsU3EGQ{8HN$jh*uIXBCLxpusHAmag)o542iLR}J=}0qPf)L%g006^"
        "i&7}em-N#VodD*N*wzn$<fBLWBJ(X{Whufwh={ZFfg4~LNGA55|W!tA|uSXth4Gm{gHiQ`+!W7@`dS25tG4JhJ|K4f^zvi20"
        "?AM~buWLEif8n<-l|N#+IE3|~LSPweBN7Xhhf8N+&85BMT<`y>+8Ehc<wd|gGVXYkBb&BJ#>V88`i7S!VzRkdYhDG&wGDMNQ"
        "F*ElrxmB+J1QcOHXg@&ke5(=pkt8MC=O6P%8^xE7b5LUv35|MsGAYWTbp2&Gz%5310|QRMB@QoYC%hZT#_~yc>#EBaKUiV&@"
        "q{suo)nwuumxLi=IJJCa5lEh}@t;U^h5MbmTChp<dpkNs^B_3915_Lj@xV^%%B-DX%=|F9YC_Y5"
    ),
    "filtered 1.1.5": (
        "c-oCr-)qxQ6mFWPtJ9(bhZAAwgPJi2D-4++bgVL%)hc_^hY@a)yWF@YEy<0uU_l=`E!-E~+5hLC;D4a!-lUNJnDjp6{yN_|-"
        "}!RS`C7TE8znWwTAxH7Ni4S)Q|mM)Aq8>cCE?^ytuJBg8w|k|6+84}5SvBwAmTKRNH?)U5)q%q35Z(<-JW~)CfjFl^91o5(?"
        "E}YritZ{1jDV`5k0q$<QW3kO<_#dDzJxSK&(e;*dJu@Fzxby#4#CQJUgatFG_fvx*Q?GP=+8@Fq|^Egm!5JEzN=Na13T!Ya1"
        "hA>%#E(pf58N<+poi)7G+kU1(pR)9JkWi$i_dO%BdjX0Z~4{yV}Mh>A<X_aLe`eIVx`^s~Uj?Z+O9k^n`3s6<l1PI`fESzSC"
        ">qyUnoap0l|M-hLvTS%O(vAgV^q|WY7h?jA*DayeN-4`=-OOkHuPAMN+J_8=J?Tin_Z07xAgbNknbSeUS{$Kyu_}x_gukpDz"
        "XP@(#v)7gVBPDl@`1X#~k9^dJd2wJj)CRA{KQMzaS(rsxc{m)m9!|&m)65t9*;LzK%wQHj!OhPSk35#AFh8UVLNh-mtFznJ{"
        "CaJaiNc<e!f#v#@MKAVo&!wwn3-&g7GKK{pZ1Q`*tHs2O%i;&z*a@ok=35aKO)bopGY^AHwU7I?ZU=OYzZ|d4X|J%TpCF?aA"
        "nP*LVEVTQc340d(D2aE2UiV^cYVU62<qlF_BQu=So4+l%|QQK^u!4JDO}FlkR4RloQoePLL7d9Q)P~QpfrSxr4Q}"
    ),
    "text 1.1.5": (
        "c-n1JQEL-H5bia(7#l?jEww%fK8W$<NJ~NAq_zkeJf%K|W$v=x9^P%j?w%SjU>~X!=B?xJ)!DrSBDxQEv%53<&G*gsz5DB+v"
        "lSNZ&OuMXCi%?B<fDOF65c)s2d_eWLr*VhNki<4x-f(fH`7b)q|s2>qy`OzG?wtr%W9T?dfV>X^5KN*@Bdvmm0zVzGO!G{Be"
        "eV?Ui&jHPy>wDaR8ojGlcuPsppHfylyI2f-$gQJYi%$)7F_LcU*#TNF=<)a3SS}##>i(7G?C4E@(K8#?ck2eT=7WG4~8{``v"
        "TS8At7X2cvJ4rs<pCyuxSv!clfT;Wx{=cn?ky@BwzUS14_MaGAP`hyP<}Ko_3kh5v8RQcqHhtpnp28N1fa=ETSxNDiX#rewq"
        "in~w%QHes%%E(GD=Lx@gSG*^@Ai#2n#rw%-Kb+~5U;mxCKKaV~XVwB8vLAbZV5LKD+C`)Tgf4rTZdT|Ch)T5C&4!P3v?uk}8"
        "b+Yc@e5E9J&}1-SHPk&%a`)d3qE!d#vDc7g2vlK7*c&BBC&^JebYSsF?O-qScCs`H$Gy)`HU8om_Suet@7QwvtSQ+Ln#0&uW"
        "iG?WJ(dS;ps`_Ef}3P-dpoUtE^6r@_=}~E!8vyDk|`vA0Pr$7hy"
    ),
    "text 1.5.3": (
        "c-n1JO>fjN5N&ohZD~PO#WyM-ZtW#nae@obvO=PPfQq<*tV!Y~(I!r0J8C0Q2@VUb<Qv0(;org7yGwT^a&X4>dwy>|z7Bpp?"
        "XS4cY&RfMP(e~l9vn-kIGQUX(D2H|KXLCHp5d+;uqu;i9xTEOp}7=Ls-OY^8J7yp)q}E5#&4&4qMKVY1}lqLT~g3&u~sxiGA"
        "=obEysedFM&Zy=m@#PSks+e!lTi?y*Yqn%u`Fdx9Doh3Y3<G$QYW<4=!>P0w4bV^zmBs1CKD@n%|9d*Zj-XtSMbfvX5r9>2z"
        "KTRI#}!+N$ZM3RPR`!pTs+O!A}_q}C?ddhs2QULi*_$#7+YFTEJ8=x*qR{R!sxji1g`P4C?kyf~lU_Ko)iqbNH3L!Vp1=NjX"
        "S&(wo;$k;GwM26<ZQlY9sslp!jqJ8_|W&+i4$R0Z^C;Ay_$7Vfl3vw=~q`oSPggb9!$g|pE&#n`+N_Upqobpqyf*2IlWP=HQ"
        "!d}}mqUX<yKabs*q%=C1@8l0{()pu#${ua@C<(JxRM~sbIRe=-17U|OYQNidyfAnFCo4hNUThrM|AJQjCZaSnNKHwY0X3~bD"
        "jx-$0?)n4?LxClm8P+_-sU6DDz3qqB~w0VO~XsQUuDN7WG=i7Wm%snmbMMm3N&XW#GEGgT(xoV7ctyV6a"
    ),
}


def recorded(name: str) -> bytes:
    return zlib.decompress(base64.b85decode(RECORDED[name]))


@pytest.mark.parametrize("name", [name for name in RECORDED if not name.startswith("text")])
def test_recorded_frames(name: str) -> None:
    frame = load_pickle(recorded(name))
    assert isinstance(frame, PickledFrame)
    rows = 2 if name.startswith("filtered") else 3
    assert len(frame) == rows
    assert list(frame.columns) == ["imgPath", "camX", "camYaw", "kid", "joints"]
    assert list(frame.index) == [0, 1, 2][:rows]
    assert isinstance(frame.index, range) == (rows == 3)
    assert frame.columns["imgPath"].tolist() == ["ag_0.png", "hdri_1.png", "cam00_2.png"][:rows]
    assert frame.columns["camX"].tolist() == [0, 0, 7][:rows]
    assert frame.columns["camX"].dtype == np.int64
    assert frame.columns["camYaw"].tolist() == [0.0, 0.5, -1.25][:rows]
    assert frame.columns["kid"].tolist() == [[False, True], [False], [True]][:rows]
    for found, expected in zip(frame.columns["joints"], JOINTS, strict=False):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", [name for name in RECORDED if name.startswith("text")])
def test_recorded_text_becomes_str_and_none(name: str) -> None:
    frame = load_pickle(recorded(name))
    assert list(frame.columns) == ["imgPath"]
    assert frame.columns["imgPath"].dtype == object
    assert frame.columns["imgPath"].tolist() == ["ag_0.png", None, "cam00_2.png"]


# --- what the installed pandas writes ------------------------------------------------------------------

MIXED = pd.DataFrame(
    {
        "a": [1, 2, 3],
        "t": ["x", None, "h\xe9\u4e2d"],
        "f": np.arange(3) * 0.5,
        "b": [True, False, True],
        "c": [7, 8, 9],
        "g": np.arange(3, dtype="f4"),
        "o": [[1], np.zeros(2), None],
    }
)
FRAMES: dict[str, Callable[[], pd.DataFrame]] = {
    "mixed": lambda: MIXED,
    "filtered": lambda: MIXED[MIXED["b"]],
    "float index": lambda: MIXED.set_index("f"),
    "text index": lambda: MIXED.set_index("t"),
    "sliced text": lambda: MIXED[["t"]].iloc[1:],
    "two pieces of text": lambda: pd.concat([MIXED, MIXED]),
    "columns reversed": lambda: MIXED.iloc[:, ::-1],
    "columns picked": lambda: MIXED[["c", "f", "a", "g"]].assign(new=1.5, k=3)[["k", "f", "new", "a", "c"]],
    "no rows": lambda: MIXED.iloc[:0],
    "nothing": pd.DataFrame,
    "no columns": lambda: pd.DataFrame(index=[3, 4]),
    "python strings": lambda: pd.DataFrame({"t": pd.array(["x", None], dtype=pd.StringDtype("python"))}),
    "arrow strings": lambda: pd.DataFrame({"t": pd.array(["x", None], dtype=pd.StringDtype("pyarrow"))}),
    "object strings": lambda: pd.DataFrame({"t": np.array(["x", None], dtype=object)}, dtype=object),
}


def plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return None if value is pd.NA or (isinstance(value, float) and np.isnan(value)) else value


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", FRAMES)
def test_the_installed_pandas(name: str, protocol: int) -> None:
    expected = FRAMES[name]()
    found = load_pickle(pickle.dumps(expected, protocol))
    assert isinstance(found, PickledFrame)
    assert (list(found.columns), len(found)) == (list(expected.columns), len(expected))
    assert list(map(plain, found.index)) == list(map(plain, expected.index))
    for column, values in found.columns.items():
        assert values.shape == (len(expected),)
        if isinstance(expected[column].dtype, np.dtype):
            assert values.dtype == expected[column].dtype
        assert list(map(plain, values)) == list(map(plain, expected[column]))


def test_a_frame_within_other_data() -> None:
    found = load_pickle(pickle.dumps({"frames": [MIXED, MIXED], "n": 1}, 4))
    assert found["frames"][0] is found["frames"][1]
    assert list(found["frames"][0].columns) == list(MIXED.columns)


def test_neither_pandas_nor_torch_is_imported() -> None:
    code = (
        "import sys; from hmtools.core.safe_pickle import load_pickle; "
        f"assert len(load_pickle({recorded('plain 1.5.3')!r})) == 3; "
        "assert not {'pandas', 'torch', 'pyarrow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "levels": (lambda: MIXED.set_index(["a", "t"]), "pandas.MultiIndex"),
    "categories": (lambda: pd.DataFrame({"c": pd.Categorical(["a"])}), "pandas.Categorical"),
    "nullable": (
        lambda: pd.DataFrame({"c": pd.array([1, None], dtype="Int64")}),
        "pandas.arrays.IntegerArray",
    ),
    "times": (lambda: pd.DataFrame({"c": pd.to_datetime(["2020-01-01"])}), "pandas.arrays.DatetimeArray"),
    "series": (lambda: MIXED["a"], "pandas.Series"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_classes_are_refused_by_name(name: str) -> None:
    make, expected = REFUSED[name]
    with pytest.raises(UnsafeFileError, match=f"refused, the pickle asks for '{expected}'"):
        load_pickle(pickle.dumps(make(), 4))


def test_columns_without_a_name_of_their_own() -> None:
    with pytest.raises(AssetError, match="expected column names that are text"):
        load_pickle(pickle.dumps(pd.DataFrame(np.eye(2))))
    with pytest.raises(AssetError, match="expected column names that are text"):
        load_pickle(pickle.dumps(pd.DataFrame(np.eye(2), columns=np.array([1.0, 2.0]))))
    with pytest.raises(AssetError, match="expected column names that differ"):
        load_pickle(pickle.dumps(pd.DataFrame(np.eye(2), columns=["a", "a"])))


@pytest.mark.parametrize(
    "foreign", ["os system", "pandas read_pickle", "pandas.io.pickle read_pickle", "torch load"]
)
def test_a_foreign_name_in_the_place_of_any_other(foreign: str) -> None:
    data = pickle.dumps(MIXED, 3)
    names = [name for name in PANDAS if "c{}\n{}\n".format(*name.rsplit(".", 1)).encode() in data]
    assert len(names) >= 8
    for name in names:
        old, new_name = (f"c{n[0]}\n{n[1]}\n".encode() for n in (name.rsplit(".", 1), foreign.split()))
        with pytest.raises(UnsafeFileError, match=f"asks for '{foreign.replace(' ', '.')}'"):
            load_pickle(data.replace(old, new_name))


FUZZED = [*map(recorded, RECORDED), pickle.dumps(MIXED, 3), pickle.dumps(MIXED, 5)]


@hypothesis_settings(max_examples=400, deadline=None)
@given(
    base=st.sampled_from(FUZZED),
    changes=st.lists(st.tuples(st.integers(0, 3000), st.binary(max_size=2)), max_size=3),
    length=st.none() | st.integers(0, 3000),
)
def test_any_bytes_are_a_frame_or_one_of_our_errors(
    base: bytes, changes: list[tuple[int, bytes]], length: int | None
) -> None:
    data = bytearray(base)
    for place, piece in changes:
        place %= len(data)
        data[place : place + len(piece)] = piece
    try:
        found = load_pickle(bytes(data[:length]))
    except HmtoolsError as error:
        assert "<bytes>" in str(error)  # noqa: PT017 - both ends are right
    else:
        if isinstance(found, PickledFrame):
            assert all(values.shape == (len(found),) for values in found.columns.values())
