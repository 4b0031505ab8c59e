"""Converting body parameters between families on the stand-in, against a fit by gradient descent."""

from __future__ import annotations

import sys
import time

import torch
from _report import Figure, arguments, report

from hmtools.bodies.assets import standin_dir
from hmtools.bodies.family_conversion import BodyConverter
from hmtools.bodies.mesh_transfer import MeshTransfer
from hmtools.bodies.mixed import BodyLayers
from hmtools.bodies.model import FAMILIES, Family
from hmtools.bodies.params import POSE_PARTS, BodyParams

_RATE, _ERROR_MM = 100.0, 10.0
_ADAM_BODIES, _ADAM_STEPS, _ADAM_RATE = 32, 200, 0.05


def people(family: Family, count: int) -> BodyParams:
    """Seeded bodies: joints bent by 14 degrees or so, fingers by 11, any direction, betas within 3."""
    rng = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng)

    sizes = {
        name: size for name, size in POSE_PARTS[family].items() if "jaw" not in name and "eye" not in name
    }
    parts = {name: (0.2 if "hand" in name else 0.25) * noise(count, 3 * size) for name, size in sizes.items()}
    parts["global_orient"] *= 4
    return BodyParams(**parts, betas=noise(count, 10).clamp(-3, 3), transl=noise(count, 3))


def mesh(family: Family, params: BodyParams) -> torch.Tensor:
    """Meshes of the stand-in, in batches."""
    layers = BodyLayers(family, roots=(standin_dir(),))
    starts = range(0, params.batch(), 32)
    parts = [params.select(range(start, min(start + 32, params.batch()))) for start in starts]
    with torch.no_grad():
        found = [layers(part).vertices for part in parts]
    return torch.cat([vertices for vertices in found if vertices is not None])


def conversions(count: int) -> list[Figure]:
    """Rate and error of each pair of families, and of SMPL to SMPL-X and back."""
    figures = []
    for source, target in [(a, b) for a in FAMILIES for b in FAMILIES if a != b]:
        bodies, tool = people(source, count), BodyConverter(source, target, roots=(standin_dir(),))
        tool(bodies.select([0, 1]))
        began = time.perf_counter()
        found = tool(bodies)
        rate = 60 * count / (time.perf_counter() - began)
        error = float(found.error_mean.mean()) * 1e3
        name = f"{source} to {target}"
        figures += [
            Figure(name=name, value=rate, unit="frames/min", target=f">= {_RATE:.0f}", met=rate >= _RATE),
            Figure(name=f"{name}, mean error", value=error, unit="mm", target="< 10", met=error < _ERROR_MM),
            Figure(
                name=f"{name}, mean error of the worst frame",
                value=float(found.error_mean.max()) * 1e3,
                unit="mm",
            ),
        ]
    return [*figures, *there_and_back(count)]


def there_and_back(count: int) -> list[Figure]:
    """SMPL to SMPL-X to SMPL, against the mesh it began with."""
    source = people("smpl", count)
    there = BodyConverter("smpl", "smplx", roots=(standin_dir(),))(source)
    back = BodyConverter("smplx", "smpl", roots=(standin_dir(),))(there.params)
    away = (mesh("smpl", back.params) - mesh("smpl", source)).norm(dim=-1).mean(1) * 1e3
    mean, worst = float(away.mean()), float(away.max())
    name = "smpl to smplx to smpl, mean vertex error"
    return [
        Figure(name=name, value=mean, unit="mm", target="< 10", met=mean < _ERROR_MM),
        Figure(name=f"{name} of the worst frame", value=worst, unit="mm"),
    ]


def gradient_descent() -> list[Figure]:
    """The plain way: 200 steps of Adam on all parameters and all vertices, from the same start; then ours."""
    roots, source = (standin_dir(),), people("smpl", _ADAM_BODIES)
    wanted = MeshTransfer("smpl", "smplx", roots=roots)(mesh("smpl", source))
    layer = BodyLayers("smplx", roots=roots).layer("neutral")
    assert source.global_orient is not None
    assert source.body_pose is not None
    assert source.transl is not None
    began = time.perf_counter()
    values = {
        "global_orient": source.global_orient.clone(),
        "body_pose": source.body_pose[:, :63].clone(),
        "left_hand_pose": torch.zeros(_ADAM_BODIES, 45),
        "right_hand_pose": torch.zeros(_ADAM_BODIES, 45),
        "betas": torch.zeros(_ADAM_BODIES, 10),
    }
    with torch.no_grad():
        shift = (wanted - layer(BodyParams(**values)).vertices).mean(1)
    values["transl"] = shift
    for value in values.values():
        value.requires_grad_()
    optimiser = torch.optim.Adam(values.values(), lr=_ADAM_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, _ADAM_STEPS)
    for _ in range(_ADAM_STEPS):
        optimiser.zero_grad()
        cost = (layer(BodyParams(**values)).vertices - wanted).square().sum(-1).mean(1).sum()
        cost.backward()
        optimiser.step()
        schedule.step()
    seconds = time.perf_counter() - began
    with torch.no_grad():
        adam_error = float((layer(BodyParams(**values)).vertices - wanted).norm(dim=-1).mean()) * 1e3
    tool = BodyConverter("smpl", "smplx", roots=roots)
    tool(source.select([0, 1]))
    began = time.perf_counter()
    found = tool(source)
    ours = time.perf_counter() - began
    error = float(found.error_mean.mean()) * 1e3
    name = f"smpl to smplx, {_ADAM_BODIES} frames (baseline: {_ADAM_STEPS} steps of Adam)"
    return [
        Figure(
            name=name,
            baseline=60 * _ADAM_BODIES / seconds,
            value=60 * _ADAM_BODIES / ours,
            unit="frames/min",
            ratio=seconds / ours,
        ),
        Figure(
            name=f"{name}, mean error", baseline=adam_error, value=error, unit="mm", ratio=adam_error / error
        ),
    ]


def main() -> int:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--frames", type=int, default=200, help="of each conversion")
    args = parser.parse_args()
    torch.manual_seed(0)
    figures = conversions(args.frames) + gradient_descent()
    return report(figures, {"frames": args.frames, "threads": torch.get_num_threads()}, args.json)


if __name__ == "__main__":
    sys.exit(main())
