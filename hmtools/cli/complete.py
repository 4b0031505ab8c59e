"""Values that the shell completes after <TAB>; each import waits until somebody presses it."""

from __future__ import annotations

import os

__all__ = [
    "conventions",
    "convertible",
    "dataset_names",
    "detectors",
    "export_kinds",
    "image_policies",
    "layouts",
    "model_formats",
    "model_words",
    "precisions",
    "protocol_ids",
    "render_views",
    "testset_words",
    "training_recipes",
    "weight_names",
]


def dataset_names(incomplete: str) -> list[str]:
    """Datasets that can be converted."""
    from hmtools.datasets.registry import all_datasets

    return [name for name in all_datasets() if name.startswith(incomplete)]


def convertible(incomplete: str) -> list[str]:
    """What ``convert`` takes: every dataset, and ``all`` of them."""
    return [name for name in (*dataset_names(incomplete), "all") if name.startswith(incomplete)]


def conventions(incomplete: str) -> list[str]:
    """Keypoint conventions."""
    from hmtools.humandata.keypoints import CONVENTIONS

    return [name for name in CONVENTIONS if name.startswith(incomplete)]


def model_formats(incomplete: str) -> list[str]:
    """What ``body convert --format`` takes."""
    return [name for name in ("npz", "pkl") if name.startswith(incomplete)]


def detectors(incomplete: str) -> list[str]:
    """What finds people in images and videos."""
    from hmtools.infer.detectors.base import AUTO, detector_names

    return [name for name in (AUTO, *detector_names()) if name.startswith(incomplete)]


def image_policies(incomplete: str) -> list[str]:
    """What ``--images`` takes for every dataset."""
    return [name for name in ("crop", "full", "none") if name.startswith(incomplete)]


def layouts(incomplete: str) -> list[str]:
    """Datasets whose download can be synthesised."""
    from hmtools.synth import layout_names

    return [name for name in layout_names() if name.startswith(incomplete)]


def weight_names(incomplete: str) -> list[str]:
    """Published weights, and what was imported."""
    from hmtools.models.published_weights import PUBLISHED
    from hmtools.models.weights_folder import weights_folder, weights_in

    names = {*PUBLISHED, *(item.name for item in weights_in(weights_folder()))}
    return sorted(name for name in names if name.startswith(incomplete))


def model_words(incomplete: str) -> list[str]:
    """What can predict people: weights that are there, and finished training runs."""
    from hmtools.core.settings import load_settings
    from hmtools.models.weights_folder import weights_in

    settings = load_settings()
    runs = sorted(settings.runs_root.glob("train/*/final.safetensors"))
    names = [item.name for item in weights_in(settings.checkpoints)]
    folders = [os.path.relpath(path.parent) for path in runs]
    return [name for name in (*dict.fromkeys(names), *folders) if name.startswith(incomplete)]


def precisions(incomplete: str) -> list[str]:
    """Of a network's passes."""
    return [name for name in ("fp32", "bf16") if name.startswith(incomplete)]


def render_views(incomplete: str) -> list[str]:
    """What ``render`` takes."""
    return [name for name in ("overlay", "side", "multiview") if name.startswith(incomplete)]


def export_kinds(incomplete: str) -> list[str]:
    """What ``export --to`` takes."""
    names = ("tracks", "amass", "ply", "obj", "glb", "gltf")
    return [name for name in names if name.startswith(incomplete)]


def training_recipes(incomplete: str) -> list[str]:
    """Shipped recipes that train something."""
    from hmtools.train.recipe_files import training_names

    return [name for name in training_names() if name.startswith(incomplete)]


def testset_words(incomplete: str) -> list[str]:
    """Test sets as people write them, and ``all`` of MPE."""
    from hmtools.bench.testsets import ALL_SETS, testset_names

    names = [*testset_names().values(), ALL_SETS]
    return [name for name in names if name.lower().startswith(incomplete.lower())]


def protocol_ids(incomplete: str) -> list[str]:
    """Protocols of any test set."""
    from hmtools.bench.protocols.registry import all_protocols

    return sorted({kind.id for kind in all_protocols() if kind.id.startswith(incomplete)})
