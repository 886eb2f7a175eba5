"""Which of the 468 points of MediaPipe's face mesh are what."""

# fmt: off
FACE_OVAL = (  # the outline, clockwise from the forehead
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
# fmt: on

IMAGE_LEFT_EYE, IMAGE_RIGHT_EYE = (33, 133, 159, 145), (362, 263, 386, 374)  # two corners and two lid midpoints
NOSE_TIP, IMAGE_LEFT_MOUTH, IMAGE_RIGHT_MOUTH = 1, 61, 291
