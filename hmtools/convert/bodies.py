"""Which body models a conversion uses: licensed ones for data, the stand-in for miniatures, never mixed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hmtools.core.errors import AssetError, LayoutError, UsageError
from hmtools.core.settings import Settings
from hmtools.synth.truth import MARKER

# The models and torch behind them are imported where they are used: sets without bodies need neither.
if TYPE_CHECKING:
    from hmtools.bodies.derive import Deriver
    from hmtools.bodies.model import BodyModel

__all__ = ["Bodies", "body_facts", "choose_bodies", "deriver", "is_miniature", "merged_facts"]


@dataclass(frozen=True, slots=True)
class Bodies:
    """Where the body models of a job come from; picklable.

    Attributes:
        root: folder that is searched.
        facts: what the manifest says about the models found there, or None when there are none.
    """

    root: Path
    facts: dict[str, Any] | None


def choose_bodies(
    root: Path, families: Sequence[str], settings: Settings, *, allow_standin: bool = False
) -> Bodies | None:
    """The body models for a download or for shards.

    Args:
        root: the download; one that holds the marker of a miniature always gets the stand-in.
        families: the body families of the set; none need no models.
        settings: ``body_models`` is searched.
        allow_standin: take the stand-in for real data too, when that is all there is.

    Raises:
        UsageError: if the models configured for real data are the stand-in, or a miniature was made with
            another stand-in than this hmtools makes.
    """
    if not families:
        return None
    if is_miniature(root):
        return _standin_of(root, families)
    facts = body_facts(settings.body_models, families)
    if facts is not None and facts["standin"] and not allow_standin:
        raise UsageError(
            f"body_models = {settings.body_models} ({settings.origin('body_models')}) holds the stand-in "
            f"body: its joints are not those of SMPL, and {root} is real data. Point body_models at the "
            "licensed files (`hmtools body list` says where to get them), or say --allow-standin"
        )
    return Bodies(settings.body_models, facts)


def is_miniature(root: Path) -> bool:
    """Whether a download was made by ``hmtools synth``."""
    return (root / MARKER).is_file()


def _standin_of(root: Path, families: Sequence[str]) -> Bodies:
    from hmtools.bodies.assets import standin_dir
    from hmtools.bodies.standin.cache import standin_hash

    try:
        made_with = json.loads((root / MARKER).read_bytes()).get("standin_sha256")
    except (ValueError, AttributeError) as error:
        raise LayoutError(f"{root / MARKER}: damaged ({error}); make the miniature again") from error
    if made_with not in (None, standin_hash()):
        raise UsageError(
            f"{root}: a miniature made with stand-in body {made_with[:12]}, this hmtools makes "
            f"{standin_hash()[:12]}; make the miniature again with `hmtools synth`"
        )
    where = standin_dir()
    return Bodies(where, body_facts(where, families))


@lru_cache(maxsize=16)
def _facts(root: Path, families: tuple[str, ...], _stamps: tuple[tuple[str, int, int], ...]) -> str:
    from hmtools.bodies.assets import body_hash
    from hmtools.bodies.model import FAMILIES

    models = [model for family in FAMILIES if family in families for model in _models(root, family)]
    if not models:
        return "null"
    files = {f"{model.family}_{model.gender}": body_hash(model) for model in models}
    files |= _kid_templates(root, families)
    betas = min(model.shapedirs.shape[-1] for model in models)
    return json.dumps(_described(files, betas, standin=any(model.standin for model in models)))


def _kid_templates(root: Path, families: Sequence[str]) -> dict[str, str]:
    from hmtools.bodies.assets import find, load_array

    keys = [f"{family}_kid_template" for family in families if family != "smplh"]
    there = [key for key in keys if find(key, roots=(root,)) is not None]
    return {key: hashlib.sha256(load_array(key, roots=(root,)).tobytes()).hexdigest() for key in there}


def _described(files: dict[str, str], num_betas: int, *, standin: bool) -> dict[str, Any]:
    listed = "".join(f"{name} {sha256}\n" for name, sha256 in sorted(files.items()))
    (only, *more) = files.values()
    return {
        "family": "+".join(dict.fromkeys(name.partition("_")[0] for name in files)),
        "sha256": hashlib.sha256(listed.encode()).hexdigest() if more else only,
        "num_betas": num_betas,
        "standin": standin,
        "files": files,
    }


def merged_facts(before: dict[str, Any] | None, now: dict[str, Any]) -> dict[str, Any] | None:
    """Facts of shards that were derived with the models of ``before`` and go on with those of ``now``.

    Models may come and go between the two; None if one of them is another than it was.
    """
    if before is None:
        return now
    same = all(now["files"].get(name, sha256) == sha256 for name, sha256 in before["files"].items())
    if not same or before["standin"] != now["standin"]:
        return None
    files = {**before["files"], **now["files"]}
    return _described(files, min(before["num_betas"], now["num_betas"]), standin=now["standin"])


def body_facts(root: Path, families: Sequence[str]) -> dict[str, Any] | None:
    """What the manifest says of the models below ``root``: ``family, sha256, num_betas, standin, files``.

    The checksums are of what the models hold, so a pickle and the clean npz made of it are the same. With
    several files ``sha256`` is that of the list of names and checksums in ``files``. None when there is none.
    """
    from hmtools.bodies.assets import find_all

    there = [(found.path, found.path.stat()) for found in find_all((root,))]
    stamps = tuple((str(path), stat.st_size, stat.st_mtime_ns) for path, stat in there)
    facts: dict[str, Any] | None = json.loads(_facts(root, tuple(families), stamps))
    return facts


def _models(root: Path, family: str) -> list[BodyModel]:
    from hmtools.bodies import assets
    from hmtools.bodies.model import GENDERS

    found = []
    for gender in GENDERS:
        try:
            found.append(assets.load_model(family, gender, roots=(root,)))  # type: ignore[arg-type] # of FAMILIES
        except AssetError:
            if assets.find(f"{family}_{gender}", roots=(root,)) is not None:
                raise  # there, but broken: the conversion must not go on without it
    return found


def deriver(bodies: Bodies) -> Deriver:
    """The deriver of this process for some models, which remembers what they lack."""
    return _deriver(bodies.root, bodies.facts["sha256"] if bodies.facts else "")


@lru_cache(maxsize=2)
def _deriver(root: Path, _sha256: str) -> Deriver:
    from hmtools.bodies.derive import Deriver

    return Deriver((root,))
