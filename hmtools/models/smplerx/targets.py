"""From records and their augmentation to the targets and masks of SMPLer-X's losses, for a whole batch.

All that happens to labels after an image has been cropped, on the device and without a loop over people; no
branch looks at a tensor. Where each target comes from is data: see
:mod:`hmtools.models.smplerx.target_rules`. Faults of the published targets are off unless asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool
from torch import Tensor

from hmtools.bodies.mixed import BodyLayers
from hmtools.core.errors import UsageError, nearest
from hmtools.models.smplerx.body import part_aligned, root_aligned
from hmtools.models.smplerx.target_body import fit_joints, joints_known, mean_hands, smpl_joints
from hmtools.models.smplerx.target_boxes import box_targets, known_boxes
from hmtools.models.smplerx.target_image import ImageJoints, chosen, shown_fit, shown_labels, smpl_image
from hmtools.models.smplerx.target_input import TargetInput
from hmtools.models.smplerx.target_joints import Augmentation, constant, image_joints, mirror_rows, turn
from hmtools.models.smplerx.target_labels import Labels, read_labels
from hmtools.models.smplerx.target_parameters import (
    Parameters,
    augmented_pose,
    parameters,
    pose_known,
    rule_flags,
)
from hmtools.models.smplerx.target_rules import REFERENCE_FAULTS, ReferenceFault, TargetRule
from hmtools.models.smplerx.target_types import Masks, Targets

__all__ = ["MAX_BETA", "TargetMaker"]

MAX_BETA = 3.0
"""A body with a larger absolute beta gets the mean shape as its target, as published."""


class TargetMaker:
    """Makes targets and masks of batches.

    Args:
        smplx: SMPL-X layers in float32 on the device of the batches; ``surface=False`` is enough.
        smpl: SMPL layers likewise; only needed for sets whose rule says ``smpl``.
        max_beta: shapes beyond it become the mean shape; published: 3.
        reference_faults: published faults to reproduce.

    Raises:
        UsageError: for a fault of another name.
        AssetError: if there is no neutral SMPL-X model, or it has no hands.
    """

    def __init__(
        self,
        smplx: BodyLayers,
        *,
        smpl: BodyLayers | None = None,
        max_beta: float = MAX_BETA,
        reference_faults: Sequence[str] = (),
    ) -> None:
        for name in reference_faults:
            if name not in REFERENCE_FAULTS:
                hint = nearest(name, REFERENCE_FAULTS)
                raise UsageError(
                    f"reference_faults: targets have no fault {name!r}{hint}; they have "
                    f"{', '.join(REFERENCE_FAULTS)}"
                )
        self._smplx, self._smpl, self._max_beta = smplx, smpl, max_beta
        self._faults = frozenset(reference_faults)
        self._hands = tuple(mean_hands(smplx).flatten().tolist())

    def __call__(self, people: TargetInput) -> tuple[Targets, Masks]:
        """Targets and masks of B people, in the dtype and on the device of the input, without gradients.

        Raises:
            UsageError: if the batch is empty, the tuples are not of its length, or a rule wants SMPL joints
                and there are no SMPL layers.
            AssetError: if the body model of somebody's gender, or the kid template, is missing.
        """
        _check(people)
        with torch.no_grad(), torch.autocast(people.crop_affine.device.type, enabled=False):
            return self._make(people)

    def _make(self, people: TargetInput) -> tuple[Targets, Masks]:
        batch = self._read(people)
        image, fit_in_image = self._images(batch)
        points, valid = _cameras(batch)
        pose, pose_valid = augmented_pose(
            batch.found.pose(), pose_known(people, batch.found), batch.augmentation
        )
        shape, shape_valid = self._shape(batch)
        centre, size, box_valid = box_targets(*known_boxes(people), batch.augmentation)
        is_labelled = batch.rule(lambda rule: rule.joints2d == "labels")
        is_3d = torch.where(is_labelled, batch.labels.has_depth, batch.found.body_known)
        targets = Targets(
            joint_img=image.cells,
            smplx_joint_img=fit_in_image.cells,
            joint_cam=points[0],
            smplx_joint_cam=points[1],
            smplx_pose=pose,
            smplx_shape=shape,
            smplx_expr=batch.found.expression,
            **_by_box("center", centre),
            **_by_box("size", size),
        )
        flags = {
            "joint_valid": valid[0][..., None],
            "joint_trunc": image.seen[..., None],
            "smplx_joint_valid": valid[1][..., None],
            "smplx_joint_trunc": fit_in_image.seen[..., None],
            "smplx_pose_valid": pose_valid.repeat_interleave(3, dim=1),
            "smplx_shape_valid": shape_valid,
            "smplx_expr_valid": batch.found.face_known,
            "is_3d": is_3d & batch.rule(lambda rule: rule.is_3d),
            **_by_box("valid", box_valid),
        }
        return targets, Masks(**{name: flag.to(pose.dtype) for name, flag in flags.items()})

    def _read(self, people: TargetInput) -> _Batch:
        like = people.smplx_body_pose
        hands = constant(self._hands, like.device, like.dtype).reshape(2, -1)
        found = parameters(people, hands, self._fault(people, "talkshow_hands"))
        return _Batch(
            people=people,
            augmentation=Augmentation(
                flip=people.flip, rotation=people.rotation, crop_affine=people.crop_affine
            ),
            labels=read_labels(people, self._fault(people, "face_eyes")),
            found=found,
            joints=fit_joints(people, found, hands, self._smplx),
            known=joints_known(people, found),
        )

    def _fault(self, people: TargetInput, name: ReferenceFault) -> Bool[Tensor, " b"]:
        """Whose targets are to have a fault: it was asked for, and the person's set had it."""
        shown = [name in self._faults and name in rule.faults for rule in people.rules]
        return rule_flags(shown, people.crop_affine)

    def _images(self, batch: _Batch) -> tuple[ImageJoints, ImageJoints]:
        """``joint_img`` and ``smplx_joint_img``."""
        people, labels, augmentation = batch.people, batch.labels, batch.augmentation
        masked = self._fault(people, "depthless_2d_masked")
        unswapped = self._fault(people, "unswapped_masks")
        shown = shown_labels(labels, batch.rule(lambda rule: rule.part_relative_depth), masked)
        camera = torch.cat([people.focal_length, people.principal_point], dim=1).isfinite().all(1)
        projected = camera & batch.found.transl_known & ~batch.rule(_wants_labels_alone)
        shown_bodies = shown_fit(people, batch.joints, batch.known, projected, shown)
        labelled, fitted = (
            ImageJoints(cells=cells, seen=seen)
            for cells, seen in (image_joints(s, augmentation, unswapped) for s in (shown, shown_bodies))
        )
        own = smpl_joints(people, self._smpl, published="pw3d_slots" in self._faults)
        smpl, slots = smpl_image(people, *own, augmentation, unswapped)
        smpl = chosen(self._fault(people, "pw3d_slots"), replace(fitted, cells=slots), smpl)

        # Labels without a depth get that of the fit: nothing masks the depth of smplx_joint_img.
        complete = chosen(labels.has_depth | masked, labelled, fitted)
        return (
            batch.source(lambda rule: rule.joints2d, {"labels": labelled, "fit": fitted, "smpl": smpl}),
            batch.source(lambda rule: rule.smplx_joints2d, {"labels": complete, "fit": fitted, "smpl": smpl}),
        )

    def _shape(self, batch: _Batch) -> tuple[Tensor, Tensor]:
        """``smplx_shape`` and its mask."""
        betas = batch.found.betas
        betas = torch.where((betas.abs() > self._max_beta).any(1, keepdim=True), 0.0, betas)
        always = batch.rule(lambda rule: rule.shape == "always")
        known = batch.found.betas_known & (always | (betas != 0).any(1))
        known = known & ~batch.rule(lambda rule: rule.shape == "none")
        return torch.where(known[:, None], betas, 0.0), known


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Batch:
    """What was read of a batch: ``joints`` (B, 137, 3) of the fits, camera frame, and which are ``known``."""

    people: TargetInput
    augmentation: Augmentation
    labels: Labels
    found: Parameters
    joints: Tensor
    known: Tensor

    def rule(self, holds: Callable[[TargetRule], bool]) -> Bool[Tensor, " b"]:
        """For whose rule something holds."""
        return rule_flags([holds(rule) for rule in self.people.rules], self.joints)

    def source(self, name: Callable[[TargetRule], str], images: dict[str, ImageJoints]) -> ImageJoints:
        """For each person the image that the rule names."""
        (_, result), *others = images.items()
        for key, image in others:
            named = [name(rule) == key for rule in self.people.rules]
            result = chosen(rule_flags(named, self.joints), image, result)
        return result


def _wants_labels_alone(rule: TargetRule) -> bool:
    return {rule.joints2d, rule.smplx_joints2d} == {"labels"}


def _by_box(what: str, values: Tensor) -> dict[str, Tensor]:
    return {f"{name}_bbox_{what}": values[:, i] for i, name in enumerate(("lhand", "rhand", "face"))}


def _cameras(batch: _Batch) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """``joint_cam`` and ``smplx_joint_cam`` in the augmented image, and their masks (B, 137)."""
    labels, known = batch.labels, batch.known
    has_depth = labels.has_depth[:, None]
    labelled = torch.where(has_depth, labels.known, labels.seen)
    by_labels, by_fit, both = (
        batch.rule(holds)[:, None]
        for holds in (
            lambda rule: rule.joints3d == "labels",
            lambda rule: rule.joints3d == "fit",
            lambda rule: rule.joints3d == "fit" and rule.joints2d == "labels",
        )
    )
    known = known & (labelled | ~both)
    first = torch.where(by_fit[..., None], root_aligned(batch.joints), labels.joints)
    first = torch.where((by_fit | by_labels)[..., None], first, 0.0)
    first_known = torch.where(by_fit, known, labelled)
    solid = by_labels & has_depth
    second = torch.where(solid[..., None], part_aligned(labels.joints), part_aligned(batch.joints))
    second_known = torch.where(solid, labels.rooted, known)

    def seen(points: Tensor, which: Tensor) -> Tensor:
        return turn(torch.where(which[..., None], points, 0.0), batch.augmentation)

    flip = batch.people.flip
    return (seen(first, first_known), seen(second, second_known)), (
        mirror_rows(first_known, flip),
        mirror_rows(second_known, flip),
    )


def _check(people: TargetInput) -> None:
    count = len(people.crop_affine)
    found = {name: len(getattr(people, name)) for name in ("rules", "gender", "smplx_gender")}
    if count == 0 or set(found.values()) != {count}:
        raise UsageError(
            f"expected {count or 'one or more'} people, one of each for everybody; found {found}"
        )
