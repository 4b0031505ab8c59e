# All that the published code does wrong, for comparisons with it. What each of them is stands in hmtools,
# with train.recipe.REFERENCE_FAULTS and models.smplerx.target_rules.ReferenceFault.
reference_faults = [
    "face_eyes",
    "pw3d_slots",
    "depthless_2d_masked",
    "talkshow_hands",
    "unswapped_masks",
    "balance_fixed",
    "agora_person_zero",
]
