"""Body models for tests: seeded random ones in the official formats."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np

__all__ = ["write_all"]

GENERATOR = Path(__file__).parents[1] / "golden/body_models/make_body_models.py"
REGRESSORS = {
    "smpl/J_regressor_extra.npy": (9, 6890),
}
KIDS = {"smpl/smpl_kid_template.npy": 6890, "smplx/smplx_kid_template.npy": 10475}


def generator() -> ModuleType:
    """The script that makes them, as a module."""
    spec = importlib.util.spec_from_file_location("make_body_models", GENERATOR)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_smplh(smpl: Path, out: Path) -> None:
    """SMPL-H models on the mesh of the SMPL stand-ins: their body, two hands of random skin."""
    import pickle

    from scipy import sparse

    make = generator()
    joints, parents = make.smplx_skeleton()
    keep = [*range(22), *range(25, 55)]
    place = {old: new for new, old in enumerate(keep)}
    parents = np.array([-1 if parents[i] < 0 else place[int(parents[i])] for i in keep])
    out.mkdir(exist_ok=True)
    for number, gender in enumerate(("NEUTRAL", "MALE", "FEMALE")):
        rng = np.random.default_rng([7, number])
        model = make.model(rng, joints[keep], parents, 6890, 13776, 16)
        model["J_regressor"] = sparse.csc_matrix(model["J_regressor"])
        for side in "lr":
            model[f"hands_mean{side}"] = 0.2 * rng.standard_normal(45)
            model[f"hands_components{side}"] = np.linalg.qr(rng.standard_normal((45, 45)))[0]
        (out / f"SMPLH_{gender}.pkl").write_bytes(pickle.dumps(model, protocol=2))


def h36m_rows(root: Path, name: str) -> np.ndarray:
    """A Human3.6M regressor, right leg first: the thirty vertices nearest to the skeleton's joints."""
    import pickle

    if name.startswith("smplx"):
        template = np.load(root / "smplx/SMPLX_NEUTRAL.npz")["v_template"]
    else:
        template = pickle.loads((root / "smpl/SMPL_NEUTRAL.pkl").read_bytes())["v_template"]
    skeleton = generator().BODY[[0, 2, 5, 8, 1, 4, 7, 6, 12, 15, 15, 16, 18, 20, 17, 19, 21]]
    rows = np.zeros((17, len(template)))
    for row, joint in zip(rows, skeleton, strict=True):
        row[np.argsort(np.linalg.norm(template - joint, axis=1))[:30]] = 1 / 30
    return rows


def write_all(root: Path) -> None:
    """Every model, regressor and template that these tests read."""
    generator().write(root, 0)
    write_smplh(root / "smpl", root / "smplh")
    rng = np.random.default_rng(3)
    for name, shape in REGRESSORS.items():
        rows = np.zeros(shape)
        for row in rows:
            row[rng.permutation(shape[1])[:30]] = 1 / 30
        np.save(root / name, rows)
    for name in ("smpl/J_regressor_h36m.npy", "smplx/J_regressor_h36m_smplx.npy"):
        np.save(root / name, h36m_rows(root, name))
    for name, vertices in KIDS.items():
        np.save(root / name, 0.3 * rng.standard_normal((vertices, 3)))
