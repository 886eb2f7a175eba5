"""A drawn face ends at the person's own skin, and shows nothing of theirs inside."""

import numpy as np

from streamer.render.textures import rim

WIDTH = 100


def disc():
    y, x = np.mgrid[:140, :120] - np.array([70, 60])[:, None, None]
    return (np.hypot(x, y) < WIDTH / 2).astype(np.uint8)


def test_deep_inside_everything_is_drawn_over():
    depth = rim.depth(disc(), WIDTH)
    for skin in (0.0, 1.0):
        drawn = rim.opacity(depth, np.full(depth.shape, skin, np.float32), np.zeros(depth.shape, np.float32))
        assert (drawn[depth > rim.OTHER_RIM + rim.STEP] == 1).all()
        assert (drawn[depth <= 0] == 0).all()


def test_a_face_that_the_frame_cuts_off_has_no_rim_there():
    whole, nothing = disc(), np.zeros((140, 120), np.float32)
    for part in (np.s_[:, 60:], np.s_[:, :45], np.s_[70:], np.s_[:90], np.s_[60:80, 50:70]):
        cut = rim.opacity(rim.depth(np.ascontiguousarray(whole[part]), WIDTH), nothing[part], nothing[part])
        drawn = rim.opacity(rim.depth(whole, WIDTH), nothing, nothing)[part]
        assert (cut >= drawn - 1e-6).all()


def test_hair_in_the_rim_stays_where_skin_is_drawn_over():
    depth = rim.depth(disc(), WIDTH)
    nothing = np.zeros(depth.shape, np.float32)
    ring = (depth > 0.03) & (depth < 0.045)
    hair, skin = (rim.opacity(depth, nothing + value, nothing)[ring].mean() for value in (0.0, 1.0))
    assert hair < 0.05 < 0.5 < skin


def test_the_persons_brows_are_drawn_over_in_the_rim():
    depth = rim.depth(disc(), WIDTH)
    brow = np.ones(depth.shape, np.float32)
    drawn = rim.opacity(depth, 0 * brow, brow)
    assert (drawn[depth > rim.SKIN_RIM] == 1).all()


def test_the_face_begins_in_the_colour_of_the_skin_around():
    depth = rim.depth(disc(), WIDTH)
    below = np.full((*depth.shape, 3), 150, np.uint8)
    patch = np.full(below.shape, 130, np.float32)
    skin = np.ones(depth.shape, np.float32)
    matched = rim.matched(patch, below, depth=depth, skin=skin, new_skin=skin, width=WIDTH)
    assert np.abs(matched[(depth > 0) & (depth < 0.04)] - 150).mean() < 5


def test_of_the_persons_skin_broad_shades_are_taken_over_and_nothing_finer():
    depth = rim.depth(disc(), WIDTH)
    skin = np.ones(depth.shape, np.float32)
    below = np.full((*depth.shape, 3), 130, np.uint8)
    below[:, : below.shape[1] // 2] = 150  # light from a side
    stripes = np.where(np.arange(below.shape[0]) // 4 % 2, 10, -10)[:, None, None]
    patch = np.full(below.shape, 140, np.float32)
    shaded, striped = (
        rim.matched(patch, (below + more).astype(np.uint8), depth=depth, skin=skin, new_skin=skin, width=WIDTH)
        for more in (0 * stripes, stripes)
    )
    inside, left = depth > 0.2, np.arange(below.shape[1]) < below.shape[1] // 3
    assert shaded[inside & left].mean() > 144
    assert np.abs(striped - shaded)[inside].max() < 2  # of ten


def test_dark_features_of_the_new_face_are_no_shade():
    depth = rim.depth(disc(), WIDTH)
    skin = np.ones(depth.shape, np.float32)
    below, patch = np.full((*depth.shape, 3), 130, np.uint8), np.full((*depth.shape, 3), 130, np.float32)
    brow = np.zeros(depth.shape, bool)
    brow[70:80, 45:75] = True
    patch[brow] = 40
    matched = rim.matched(patch, below, depth=depth, skin=skin, new_skin=skin * ~brow, width=WIDTH)
    np.testing.assert_allclose(matched, patch, atol=1.5)


def test_hair_lends_no_colour():
    depth = rim.depth(disc(), WIDTH)
    below = np.zeros((*depth.shape, 3), np.uint8)
    patch = np.full(below.shape, 130, np.float32)
    none = np.zeros(depth.shape, np.float32)
    matched = rim.matched(patch, below, depth=depth, skin=none, new_skin=none, width=WIDTH)
    np.testing.assert_allclose(matched, patch, atol=0.01)


def test_bows_of_glasses_are_counted_to_the_skin_and_strands_of_hair_are_not():
    skin = np.ones((200, 200), np.float32)
    skin[60:66], skin[:, 20:26], skin[:30] = 0, 0, 0  # a bow, a strand, a cap
    counted = rim.without_strokes(skin, 150.0)
    assert (counted[58:68, 40:] == 1).all()
    assert (counted[80:, 21:25] == 0).all()
    assert (counted[:20] == 0).all()
