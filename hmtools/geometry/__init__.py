"""Pure functions on arrays: rotations, cameras, boxes, crops, flips and Procrustes. No files, no datasets.

Pixels, stated here and nowhere else
    Image coordinates are those of the upright original image: x to the right, y down, and **pixel centres at
    integers**. Pixel (0, 0) is a square from -0.5 to 0.5 with its centre at (0, 0); an image of W columns
    spans -0.5 to W - 0.5, and its mirror image has ``x -> W - 1 - x``. Principal points, keypoints, the
    corners of boxes and the affines of crops all count this way. Published pipelines that count otherwise
    are named where they are met (:func:`hmtools.geometry.crop.crop_affine`).

Space
    Metres and radians. The camera frame is OpenCV's: x right, y down, z forward.

Arrays
    ``box`` and ``crop`` take whatever NumPy can read and return float64. ``projection``, ``camera`` and
    ``flip`` take NumPy arrays (computed in float64) or torch tensors (computed in their own float type, on
    their own device, with gradients). ``rotation`` and ``procrustes`` take torch tensors. Leading axes are
    batch axes; where two arguments have them, they broadcast.
"""
