"""What others published, to stand beside ours: Private-Encoder's tables and the curve over beta of its notebooks.

Zhao, Liu, Zhu, Ding, Zhou, "Private-Encoder", CCPE 2022, doi 10.1002/cpe.6548. Faces of FFHQ or CelebA at 256 px;
identity similarity is CurricularFace's, detection dlib's HOG.
"""

from __future__ import annotations

from collections.abc import Mapping

SIMILARITIES = (0.1, 0.2, 0.4)  # section 4.3.1: where methods are compared
SSIM = 0.65  # section 4.3.2: where privacy and use are compared
BETAS = tuple(step / 10 for step in range(11))  # section 4.2

# Tables 1 to 3, FFHQ: by similarity, (MSE, SSIM, FID) of each method.
QUALITY: Mapping[float, Mapping[str, tuple[float, float, float]]] = {
    0.1: {"blur": (0.12, 0.50, 158.23), "mosaic": (0.42, 0.40, 130.71), "Private-Encoder": (0.04, 0.63, 48.51)},
    0.2: {"blur": (0.05, 0.60, 98.65), "mosaic": (0.10, 0.46, 119.99), "Private-Encoder": (0.03, 0.66, 47.52)},
    0.4: {"blur": (0.03, 0.65, 65.82), "mosaic": (0.05, 0.54, 108.03), "Private-Encoder": (0.03, 0.69, 46.33)},
}

# Table 4, FFHQ at an SSIM of .65: mean similarity and its standard deviation over faces.
SIMILARITY_AT_SSIM = {"blur": (0.38, 0.11), "mosaic": (0.87, 0.04), "Private-Encoder": (0.16, 0.08)}

# Table 5, the same: share of faces that HOG finds.
DETECTION_AT_SSIM = {"blur": 0.4575, "mosaic": 0.9818, "Private-Encoder": 0.9999}

# Table 6, CelebA: MSE, SSIM, FID, share that HOG finds.
LEARNED = {
    "CIAGAN": (0.07, 0.65, 12.72, 0.9939),
    "Private-Encoder at similarity 0.2": (0.02, 0.73, 31.11, 0.9989),
    "DeepPrivacy": (0.09, 0.61, 25.94, 0.9976),
    "Private-Encoder at similarity 0.1": (0.02, 0.72, 33.41, 0.9976),
}

# The authors' notebooks, 998 faces of FFHQ: by beta, mean similarity and De-Identify Rate. One network a beta.
CURVE = {
    0.0: (0.10, 0.89),
    0.1: (0.13, 0.77),
    0.2: (0.16, 0.64),
    0.3: (0.22, 0.38),
    0.4: (0.27, 0.18),
    0.5: (0.33, 0.07),
    0.6: (0.42, 0.02),
    1.0: (0.63, 0.02),
}
