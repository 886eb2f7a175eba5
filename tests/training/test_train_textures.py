"""`veil train textures`: pictures of donors and their labels in, a model that can be drawn out."""

import io
import tarfile
from dataclasses import replace
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from models.attributes.attributes import load_attributes
from models.face_model import ANCESTRIES
from models.registry import load_face_model
from models.textures import Textures, coarse
from streamer.cli.main import app
from streamer.errors import SourceError
from streamer.faces.detect import five_points
from streamer.faces.fine_mesh import FINE
from streamer.render.align import MeshAligner
from streamer.render.textures.light import LightReader
from streamer.training.coarse_shades import plain_skin, without_hair
from streamer.training.donors import Donor, Label, pictures, read_donors, read_labels
from streamer.training.sitters import agreed, dealt_out, drawn_ancestries, nearest_to_mean, with_doubt
from streamer.types import Face, Image

pytestmark = pytest.mark.slow

HOPPER = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"  # US Navy, public domain
HEADER = "file,sex,age,ancestry,unfit,fit\n"
DONORS = (3, 400, 801, 1202, 1603)  # strangers we ship: evenly lit faces of nobody, as donors should be


@pytest.fixture(scope="module")
def shipped() -> Textures:
    model = load_face_model("textures")
    assert isinstance(model, Textures)
    return model


@pytest.fixture(scope="module")
def folder(shipped: Textures, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("donors")
    for number in DONORS:
        cv2.imwrite(str(folder / f"{number}.png"), drawn(shipped, number)[..., ::-1])
    return folder


def drawn(model: Textures, stranger: int) -> Image:
    """A picture that a stranger fills, facing the camera with the mouth shut, with the grain that photographs have."""
    mesh = model.shape.mean.numpy()
    mesh = (mesh / np.ptp(mesh[:, 1]) * 250 + [128, 128, 0]).astype(np.float32)
    face = Face(np.array([0, 0, 256, 256], np.float32), five_points(mesh), mesh, 1.0)
    aligner = MeshAligner(np.array(model.template.points, np.float32), model.crop_size)
    where, _ = aligner.frame_to_crop(face, (0, 0, 256, 256))
    picture = cv2.remap(model.texture(stranger), where, None, cv2.INTER_AREA)
    grain = np.random.default_rng(stranger).normal(0, 4, picture.shape[:2])[..., None]
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


@pytest.fixture
def labels(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "labels.csv"
    path.write_text(HEADER + "".join(f"{number}.png,female,30,,\n" for number in DONORS))
    return path


def test_pictures_of_a_folder_and_of_a_tar_come_in_the_same_order(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "donors.tar"
    with tarfile.open(path, "w") as tar:
        for number in reversed(DONORS):
            content = (folder / f"{number}.png").read_bytes()
            member = tarfile.TarInfo(f"{folder.name}/{number}.png")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    assert list(pictures([path])) == list(pictures([folder]))
    assert len(list(pictures([path]))) == len(DONORS)


def test_a_donor_is_found_in_a_picture_that_the_face_fills(folder: Path, shipped: Textures) -> None:
    points = np.array(shipped.template.points, np.float32)
    told = {f"{DONORS[0]}.png": Label(1.0, 30.5)}
    found = [one for one in read_donors([folder], told, network=load_attributes(), points=points, size=64) if one]
    assert len(found) == len(DONORS)
    donor = next(one for one in found if one.label.age == 30.5)
    assert sum(donor.label.ancestry or ()) == pytest.approx(1.0)  # estimated, as nobody told it
    assert donor.face.mesh is not None
    mean = shipped.shape.mean.numpy()[:, :2]
    margin = (len(donor.picture) - 256) / 2
    assert np.abs(donor.face.mesh[:, :2] - margin - (mean / np.ptp(mean[:, 1]) * 250 + 128)).mean() < 6  # pixels of 256


def test_a_donor_is_cut_by_the_mesh_that_people_are_drawn_with(folder: Path, shipped: Textures) -> None:
    """Its lids and lips are where the finer network sees them, all else where the first mesh has it."""
    points = np.array(shipped.template.points, np.float32)
    donor = next(one for one in read_donors([folder], {}, network=load_attributes(), points=points, size=64) if one)
    assert donor.face.mesh is not None
    apart = np.linalg.norm((donor.fine - donor.face.mesh)[:, :2], axis=1)
    fine = np.isin(np.arange(len(apart)), FINE)
    assert apart[~fine].max() == 0.0
    assert apart[fine].mean() > 0.3
    aligner = MeshAligner(points, 64)
    assert (donor.crop == aligner.crop(donor.picture, replace(donor.face, mesh=donor.fine))).all()
    assert (donor.crop != aligner.crop(donor.picture, donor.face)).any()


def test_labels_that_nobody_gave_are_estimated(shipped: Textures, tmp_path: Path) -> None:
    (tmp_path / "hopper.jpg").write_bytes(HOPPER.read_bytes())
    points = np.array(shipped.template.points, np.float32)
    (donor,) = read_donors([tmp_path], {}, network=load_attributes(), points=points, size=64)
    assert donor is not None
    assert 0 <= donor.label.female <= 1
    assert 50 < donor.label.age < 90  # she was 77
    assert donor.label.ancestry is not None
    assert int(np.argmax(donor.label.ancestry)) == ANCESTRIES.index("european")


@pytest.mark.parametrize(
    "line",
    ["a.png,woman,30,,,,", "a.png,female,old,,,,", "a.png,female,30,roman,,,", "a.png,female,30,,i,,", "a.png"],
)
def test_a_label_that_is_not_understood_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"{HEADER}b.png,male,4,african,s,l\n{line}\n")
    with pytest.raises(SourceError, match="line 3 "):
        read_labels(path)


def test_labels_say_what_may_be_used(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(f"{HEADER}b.png,male,4,african,s,l\n")
    assert read_labels(path) == {"b.png": Label(0.0, 4.0, (0.0, 1.0, 0.0, 0.0), "s", "l")}


def train(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["train", "textures", *map(str, arguments)])
    return result.exit_code, result.output


def test_strangers_of_one_s_own_donors_can_be_drawn(
    shipped: Textures, folder: Path, labels: Path, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "textures.safetensors"
    code, output = train(folder, "--labels", labels, "--out", out, "--strangers", 3)
    assert code == 0, output
    model = load_face_model(out)
    assert isinstance(model, Textures)
    assert 1 <= len(model.recipes) <= 3
    assert model.texture(0).std() > 10
    shades = model.coarse_shades(0)
    assert shades is not None
    assert shades.std() > 0.02
    assert model.embeddings.norm(dim=1).numpy() == pytest.approx(1, abs=1e-3)
    kept, ours = (one.harmonizer.state_dict() for one in (model, shipped))
    assert all(torch.equal(kept[name], ours[name]) for name in ours)


def test_hair_over_a_donor_s_forehead_is_not_a_stranger_s_shade(shipped: Textures) -> None:
    points = np.array(shipped.template.points, np.float32)
    plain = plain_skin(LightReader(points), points)
    forehead, brow, chin = ((points[index] * coarse.SIZE).astype(int) for index in (69, 105, 175))
    flat = np.full((coarse.SIZE, coarse.SIZE, 3), -0.05, np.float32)
    for x, y in (forehead, brow, chin):
        flat[y - 1 : y + 2, x - 1 : x + 2] = -1.0
    bare = without_hair(flat, plain)
    assert bare[forehead[1], forehead[0]].mean() > -0.2
    assert bare[brow[1], brow[0]].mean() < -0.7  # brows and beards stay
    assert bare[chin[1], chin[0]].mean() < -0.95
    assert bare[coarse.SIZE // 4, coarse.SIZE // 2] == pytest.approx(-0.05, abs=0.01)


def test_too_few_usable_faces_are_said_in_one_line(folder: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(HEADER + "".join(f"{number}.png,male,30,uls,\n" for number in DONORS))
    code, output = train(folder, "--labels", labels, "--out", tmp_path / "out.safetensors")
    assert code == 1
    assert "face" in output.strip().splitlines()[-1]
    assert not (tmp_path / "out.safetensors").exists()


def test_a_folder_without_pictures_is_named(labels: Path, tmp_path: Path) -> None:
    code, output = train(tmp_path, "--labels", labels)
    assert code == 1
    assert "no picture in it" in output


def test_strangers_are_compared_on_the_woman_and_the_man_who_are_nearest_to_the_mean(shipped: Textures) -> None:
    """Or the hair and jaw of whoever a stranger is made of would count as theirs."""
    mean, nothing = shipped.shape.mean.numpy() * 100, np.zeros((8, 8, 3), np.uint8)

    def donor(female: float, longer: float) -> Donor:
        mesh = (mean * (1.0, longer, 1.0)).astype(np.float32)
        face = Face(np.zeros(4, np.float32), five_points(mesh), mesh, 1.0)
        return Donor(f"{female} {longer}", Label(female, 30.0), nothing, face, mesh, nothing)

    people = [donor(female, longer) for female in (0.0, 1.0) for longer in (1.3, 1.05, 1.2)]
    assert [one.name for one in nearest_to_mean(shipped, people)] == ["0.0 1.05", "1.0 1.05"]
    assert [one.name for one in nearest_to_mean(shipped, people[:3])] == ["0.0 1.05"]


def test_ages_go_to_those_of_a_group_who_look_it_and_labels_decide_where_looks_do_not() -> None:
    ages, one = torch.tensor([60.0, 20.0, 40.0, 8.0]), torch.zeros(4, dtype=torch.int64)
    assert dealt_out(ages, torch.tensor([30.0, 36.0, 44.0, 20.0]), one).tolist() == [20.0, 40.0, 60.0, 8.0]
    assert dealt_out(ages, torch.zeros(4), one).tolist() == ages.tolist()
    assert dealt_out(ages, torch.tensor([30.0, 36.0, 44.0, 20.0]), torch.tensor([0, 0, 1, 1])).tolist() == [
        20,
        60,
        40,
        8,
    ]


def test_who_is_drawn_like_the_other_sex_is_in_doubt() -> None:
    female = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])
    man, woman = 4.0, -4.0
    sitters = torch.tensor([[woman, woman, woman, man, man, woman], [woman, man, woman, man, man, woman]])
    seen = with_doubt(female, sitters + torch.tensor([[-2.0], [3.0]]))  # whatever the sitters are
    assert seen[[0, 2, 3, 4]].tolist() == [1.0, 1.0, 0.0, 0.0]
    assert 0.5 < seen[1] < 0.9  # a woman to one of two
    assert 0.4 < seen[5] < 0.5  # a man to none


def test_strangers_of_one_sex_are_in_no_doubt() -> None:
    assert with_doubt(torch.ones(3), torch.tensor([[3.0, -1.0, 2.0]])).tolist() == [1.0, 1.0, 1.0]


def test_what_sitters_have_of_their_own_tells_nothing_of_strangers() -> None:
    rng = torch.Generator().manual_seed(0)
    strangers = torch.nn.functional.normalize(torch.randn(200, 16, generator=rng), dim=1)
    own = 3.0 * torch.randn(2, 1, 16, generator=rng)
    found = torch.nn.functional.cosine_similarity(agreed(strangers + own), strangers - strangers.mean(dim=0), dim=1)
    assert found.min() > 0.99


def test_an_ancestry_is_half_that_of_who_it_is_made_of_and_half_what_it_looks() -> None:
    labels = torch.eye(4)
    looks = 8.0 * torch.eye(4)[[0, 1, 2, 2]]  # the last looks like the third
    mixed = drawn_ancestries(labels, (looks + torch.tensor([5.0, 0.0, 0.0, 0.0])).expand(3, 4, 4))
    assert mixed.sum(dim=1).numpy() == pytest.approx(1.0)
    assert (mixed.diagonal()[:3] > 0.9).all()
    assert mixed[3, 2] == pytest.approx(0.5, abs=0.1)
    assert mixed[3, 3] == pytest.approx(0.5, abs=0.1)
