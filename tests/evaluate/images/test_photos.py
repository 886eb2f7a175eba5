"""Photos are found, named, labelled and paired; what is missing, left over or broken is named."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from streamer.errors import SourceError
from streamer.evaluate.images.labels import age_group, from_name
from streamer.evaluate.images.photos import PhotoFile, find_photos, pair_with

SHARED_FACES = Path(__file__).parents[4] / "shared" / "faces"


def write(path: Path, value: int = 100, size: tuple[int, int] = (8, 6)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(path)
    return path


def names(photos: list[PhotoFile]) -> list[str]:
    return [photo.name for photo in photos]


def test_photos_are_named_for_folder_and_file_in_the_order_of_their_names(tmp_path: Path):
    for name in ("b/2.png", "a/1.jpg", "3.webp", ".hidden/4.png", "notes.txt"):
        write(tmp_path / "set" / name) if not name.endswith("txt") else (tmp_path / "set" / name).write_text("")
    assert names(find_photos(tmp_path / "set")) == ["a/1.jpg", "b/2.png", "set/3.webp"]


def test_a_photo_in_a_tar_is_read_in_place(tmp_path: Path):
    content = io.BytesIO()
    PIL.Image.fromarray(np.full((3, 5, 3), (10, 20, 30), np.uint8)).save(content, "png")
    with tarfile.open(tmp_path / "eval-made.tar", "w") as tar:
        for name in ("made/first.png", "second.png"):
            member = tarfile.TarInfo(name)
            member.size = len(content.getvalue())
            tar.addfile(member, io.BytesIO(content.getvalue()))
    with tarfile.open(tmp_path / "train-made.tar", "w"):
        pass
    found = find_photos(tmp_path)
    assert names(found) == ["made/first.png", "made/second.png"] == names(find_photos(tmp_path / "eval-made.tar"))
    assert (found[1].read() == (10, 20, 30)).all()
    assert found[1].read().shape == (3, 5, 3)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["eval-made.tar", "train-made.tar"]


def test_a_photo_that_a_camera_held_upright_is_read_upright(tmp_path: Path):
    exif = PIL.Image.Exif()
    exif[0x112] = 6  # the top of the scene is at the right of the picture
    picture = np.zeros((4, 6, 3), np.uint8)
    picture[:, 3:] = 200
    PIL.Image.fromarray(picture).save(tmp_path / "a.png", exif=exif)
    read = find_photos(tmp_path)[0].read()
    assert read.shape == (6, 4, 3)
    assert (read[3:] == 200).all()


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\xff\xd8\xff\xe0\x00\x10JFIF"])
def test_a_photo_that_cannot_be_read_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "bad.jpg").write_bytes(content)
    with pytest.raises(SourceError, match=r"cannot read .*/bad\.jpg"):
        find_photos(tmp_path)[0].read()


def test_a_photo_cut_short_is_not_half_a_photo(tmp_path: Path):
    whole = write(tmp_path / "a.jpg", size=(400, 300)).read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="damaged"):
        find_photos(tmp_path)[0].read()


def test_a_folder_without_photos_says_what_was_expected(tmp_path: Path):
    with pytest.raises(SourceError, match=r"no photo in .* expected .*\.png"):
        find_photos(tmp_path)


def test_lfw_names_say_who_it_is_and_a_cameras_names_do_not(tmp_path: Path):
    for name in ("lfw/Ann_Lee_0001.jpg", "lfw/Ann_Lee_0002.jpg", "mine/IMG_0001.jpg", "mine/IMG_0002.jpg"):
        write(tmp_path / "photos" / name)
    photos = find_photos(tmp_path / "photos")
    people = ["lfw/Ann_Lee", "lfw/Ann_Lee", "mine/IMG_0001.jpg", "mine/IMG_0002.jpg"]
    assert [photo.person for photo in photos] == people
    assert [photo.groups for photo in photos[1:3]] == [("lfw",), ("mine",)]


def test_lfw_as_published_with_a_folder_a_person_is_one_collection(tmp_path: Path):
    for name in ("Ann_Lee/Ann_Lee_0001.jpg", "Bo/Bo_0001.jpg"):
        write(tmp_path / "lfw-deepfunneled" / name)
    photos = find_photos(tmp_path / "lfw-deepfunneled")
    assert [(photo.person, photo.groups) for photo in photos] == [("lfw/Ann_Lee", ("lfw",)), ("lfw/Bo", ("lfw",))]


def test_utkface_names_say_age_sex_and_race_and_its_tight_crops_get_a_border(tmp_path: Path):
    write(tmp_path / "utk" / "34_1_2_20170112213615815.png", size=(20, 10))
    photo = find_photos(tmp_path)[0]
    assert photo.groups == ("utk", "female", "asian", "age 30-59")
    assert photo.person == photo.name
    assert photo.read().shape == (10 + 2 * 6, 20 + 2 * 6, 3)  # 30 % of 20


@pytest.mark.parametrize(("age", "group"), [(0, "age 0-12"), (12, "age 0-12"), (13, "age 13-29"), (99, "age 60+")])
def test_ages_fall_into_groups(age: int, group: str):
    assert age_group(age) == group


def test_a_name_that_only_looks_like_utkface_carries_no_labels():
    assert from_name("a/34_7_2_20170112213615815.png", "a") == ("a/34_7_2_20170112213615815.png", ("a",))


def test_labels_beside_the_pictures_win_over_names(tmp_path: Path):
    for name in ("lfw/Ann_Lee_0001.jpg", "lfw/sub/x.jpg", "lfw/Bo_Li_0001.jpg"):
        write(tmp_path / name)
    (tmp_path / "lfw" / "labels.csv").write_text("file,person,skin\nAnn_Lee_0001.jpg,Eve,VI\nsub/x.jpg,,II\n")
    photos = {photo.name: photo for photo in find_photos(tmp_path)}
    assert photos["lfw/Ann_Lee_0001.jpg"].person == "Eve"
    assert photos["lfw/Ann_Lee_0001.jpg"].groups == ("lfw", "skin VI")
    assert photos["lfw/sub/x.jpg"].person == "lfw/sub/x.jpg"
    assert photos["lfw/Bo_Li_0001.jpg"].person == "lfw/Bo_Li"


def test_labels_without_a_column_of_files_are_refused(tmp_path: Path):
    write(tmp_path / "a.png")
    (tmp_path / "labels.csv").write_text("name,person\na.png,Eve\n")
    with pytest.raises(SourceError, match=r"labels\.csv: needs a column `file`, has name, person"):
        find_photos(tmp_path)


def test_celebas_text_files_give_people_and_groups(tmp_path: Path):
    for number in (1, 2):
        write(tmp_path / "img_align_celeba" / f"00000{number}.jpg")
    (tmp_path / "identity_CelebA.txt").write_text("000001.jpg 2880\n000002.jpg 2937\n")
    (tmp_path / "list_attr_celeba.txt").write_text("2\nMale Smiling Young\n000001.jpg -1 1 1\n000002.jpg 1 -1 -1\n")
    first, second = find_photos(tmp_path)
    assert (first.person, first.groups) == ("2880", ("celeba", "female", "young"))
    assert (second.person, second.groups) == ("2937", ("celeba", "male", "not young"))


def test_ffhq_in_folders_of_a_thousand_is_one_collection(tmp_path: Path):
    for name in ("00000/00001.png", "01000/01001.png"):
        write(tmp_path / "ffhq" / name)
    assert [photo.groups for photo in find_photos(tmp_path / "ffhq")] == [("ffhq",)] * 2


def test_a_limit_is_spread_evenly_over_each_collection(tmp_path: Path):
    for number in range(10):
        write(tmp_path / "a" / f"{number}.png")
    for number in range(3):
        write(tmp_path / "b" / f"{number}.png")
    assert names(find_photos(tmp_path, limit=2)) == ["a/2.png", "a/7.png", "b/0.png", "b/2.png"]


def test_outputs_pair_by_name_whatever_the_suffix_and_the_rest_is_named(tmp_path: Path):
    for name in ("in/a.jpg", "in/b.jpg", "in/c.jpg", "out/a.png", "out/b.jpg", "out/b.png", "out/z.jpg"):
        write(tmp_path / name)
    pairs, problems = pair_with(find_photos(tmp_path / "in"), tmp_path / "out")
    assert [(pair.before.name, pair.after.name) for pair in pairs] == [("in/a.jpg", "out/a.png")]
    found = {problem.what: problem.names for problem in problems}
    assert found["originals without an output"] == ("in/c.jpg",)
    assert found["several outputs"] == ("in/b.jpg",)
    assert "out/z.jpg" in found["output of no original"]


def test_outputs_in_the_same_folders_pair_where_names_alone_do_not_tell(tmp_path: Path):
    for name in ("in/x/1.jpg", "in/y/1.jpg", "out/x/1.png", "out/y/1.png"):
        write(tmp_path / name)
    pairs, problems = pair_with(find_photos(tmp_path / "in"), tmp_path / "out")
    assert [(pair.before.name, pair.after.name) for pair in pairs] == [("x/1.jpg", "x/1.png"), ("y/1.jpg", "y/1.png")]
    assert problems == []


def test_an_output_of_a_tight_crop_gets_the_same_border(tmp_path: Path):
    for folder in ("in", "out"):
        write(tmp_path / folder / "34_1_2_20170112213615815.png")
    pairs, _ = pair_with(find_photos(tmp_path / "in"), tmp_path / "out")
    assert pairs[0].before.read().shape == pairs[0].after.read().shape


@pytest.mark.skipif(not SHARED_FACES.is_dir(), reason="needs ../shared/faces")
def test_the_shared_tars_give_every_photo_and_no_training_crop():
    photos = find_photos(SHARED_FACES)
    assert len(photos) == 868 + 300 + 100 + 1100
    assert {photo.groups[0] for photo in photos} == {"lfw", "aaf", "syn", "utk"}
    assert len({photo.person for photo in photos if photo.groups[0] == "lfw"}) == 546
