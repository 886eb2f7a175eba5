"""What each figure means, in words for somebody who decides and does not measure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from streamer.evaluate.figures import Figure

IDENTITY = "Is the person still recognised?"
LEAKS = "Is every face covered?"
ATTACKS = "Can it be undone?"
PICTURE = "How much of the picture is kept?"
USE = "Is it still of use?"
STEADY = "Is it steady over time?"
OTHER = "Other figures"

PRIVACY = frozenset({IDENTITY, LEAKS, ATTACKS})  # topics; thresholds on all others are of usefulness
TOPICS = (IDENTITY, LEAKS, ATTACKS, PICTURE, USE, STEADY, OTHER)


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a reader is told about a figure.

    Attributes:
        title: A name in words.
        sentence: What it says, and which way is good; "" where we know nothing of it.
        topic: One of `TOPICS`, under which it stands.
        order: Its place among the figures of the glossary.
    """

    title: str
    sentence: str = ""
    topic: str = OTHER
    order: int = 0


@dataclass(frozen=True, slots=True)
class Topic:
    """Figures that answer one question.

    Attributes:
        title: The question.
        rows: Name, meaning and figure of each.
    """

    title: str
    rows: tuple[tuple[str, Meaning, Figure], ...]


GLOSSARY = {
    "match_rate": Meaning(
        "Recognised",
        "Share of faces that a recogniser still takes for the same person, at a strictness that confuses one pair of "
        "strangers in a thousand; lower is more private.",
        IDENTITY,
    ),
    "match_rate_no_mesh": Meaning(
        "Recognised: profiles and false alarms",
        "The same of what may be a face but has no mesh, so that it is only ever covered; recognisers take much of it "
        "for much else.",
        IDENTITY,
    ),
    "match_rate_any": Meaning(
        "Recognised by any",
        "The same by at least one of the recognisers; lower is more private.",
        IDENTITY,
    ),
    "match_rate_chance": Meaning(
        "Recognised: chance", "The share of strangers that is taken for the person.", IDENTITY
    ),
    "match_rate_any_chance": Meaning("Recognised by any: chance", "At most this share of strangers.", IDENTITY),
    "match_rate_own_group": Meaning(
        "Recognised, strictness by group",
        "As above, but counted against strangers of the person's own group, since recognisers confuse people of some "
        "groups more often; 'How it was measured' tells the groups and their sizes; lower is more private.",
        IDENTITY,
    ),
    "rank1": Meaning(
        "First hit in a search",
        "Share of faces for which a search through all originals puts the right person first. Somebody is always "
        "first, recognised or not; lower is more private.",
        IDENTITY,
    ),
    "rank5": Meaning(
        "Among the first five hits",
        "Share of faces for which a search through all originals has the right person among its first five hits; "
        "lower is more private.",
        IDENTITY,
    ),
    "rank1_chance": Meaning("First hit: chance", "What guessing blindly would reach.", IDENTITY),
    "rank5_chance": Meaning("First five hits: chance", "What guessing blindly would reach.", IDENTITY),
    "nearness": Meaning(
        "How near to being recognised",
        "The mean over faces, on a scale on which 0 is as alike as two strangers are on average, and 1 is where the "
        "recogniser takes two faces for one person; lower is more private.",
        IDENTITY,
    ),
    "nearest": Meaning(
        "How near the nearest face is",
        "On the same scale, the one face that comes nearest: above 1 it is recognised. One face has no interval, and "
        "what the nearest of as many strangers reaches was not measured.",
        IDENTITY,
    ),
    "similarity": Meaning(
        "Likeness to the person",
        "The cosine between the face before and after, as Zhao et al. have it: 1 is the same picture, and chance is "
        "the mean of strangers; lower is more private. Whether anybody is recognised it does not say: "
        "'Recognised' does.",
        IDENTITY,
    ),
    "de_identify_rate": Meaning(
        "De-Identify Rate",
        "Share of faces that are less like their person than two strangers are on average (Zhao et al., doi "
        "10.1002/cpe.6548); higher is more private. About half of all pairs of strangers are, which is chance: below "
        "it, outputs are still more like their person than strangers are.",
        IDENTITY,
    ),
    "de_identify_rate_chance": Meaning(
        "De-Identify Rate: strangers", "The share of pairs of strangers that are less alike than on average.", IDENTITY
    ),
    "tar_before": Meaning(
        "Control: known from another, unaltered photo",
        "Share of pairs of unaltered photos of one person that the recogniser takes for one person: a recogniser that "
        "does not know the people anyway proves nothing.",
        IDENTITY,
    ),
    "tar_after": Meaning(
        "Known from another photo afterwards",
        "Share of pairs of one person, an output and the original of another photo, that the recogniser takes for one "
        "person; lower is more private.",
        IDENTITY,
    ),
    "eer_before": Meaning(
        "Control: equal error rate, unaltered photos",
        "How often the recogniser errs when it errs equally often either way; low means that the originals are easy "
        "to verify.",
        IDENTITY,
    ),
    "eer_after": Meaning(
        "Equal error rate afterwards",
        "The same after anonymising: one half means that the recogniser can only guess; higher is more private.",
        IDENTITY,
    ),
    "mse": Meaning(
        "Difference of the pixels",
        "Mean squared difference between the picture before and after, 0 for the same picture; lower keeps more.",
        PICTURE,
    ),
    "ssim": Meaning(
        "Structure kept",
        "Structural similarity of the picture before and after, 1 for the same picture; higher keeps more.",
        PICTURE,
    ),
    "fid": Meaning(
        "Naturalness (FID)",
        "How far the anonymised pictures as a set are from real ones, by an Inception network; lower is more natural.",
        PICTURE,
    ),
    "frechet": Meaning(
        "Naturalness to a recogniser (Frechet)",
        "How far the anonymised faces as a set are from real ones, by the features of a recogniser; 0 is natural, "
        "there is no upper end.",
        PICTURE,
    ),
    "kernel": Meaning(
        "Naturalness to a recogniser (kernel)",
        "The same distance measured another way, times 1,000, which small sets do not distort; 0 is natural, there is "
        "no upper end: compare only runs with the same recogniser and photos.",
        PICTURE,
    ),
    "found": Meaning(
        "Still found as a face",
        "Share of outputs in which our own detector finds the face; higher is more useful.",
        USE,
    ),
    "hog": Meaning(
        "Still found by another detector",
        "Share of outputs in which dlib's HOG detector finds the face, of originals in which it does; higher is more "
        "useful.",
        USE,
    ),
    "landmarks": Meaning(
        "Landmarks moved (in eye distances)",
        "How far eyes, nose and mouth moved, in shares of the distance between the eyes; lower is more useful.",
        USE,
    ),
    "pose": Meaning(
        "Head turned (in degrees)",
        "By how many degrees the pose of the head differs, the mean of three axes; lower is better.",
        USE,
    ),
    "gaze": Meaning(
        "Gaze moved (in widths of the eye)", "How far the irises moved, in widths of the eye; lower is better.", USE
    ),
    "eyes": Meaning(
        "Lids moved (in widths of the eye)",
        "How far the opening of the eyes differs, in widths of the eye; lower is better.",
        USE,
    ),
    "mouth": Meaning(
        "Mouth moved (in widths of the mouth)",
        "How far the opening of the mouth differs, in widths of the mouth; lower is better.",
        USE,
    ),
    "expression": Meaning(
        "Expression changed (in eye distances)",
        "How far lids, lips and brows moved within the face, in distances between the eyes; lower is better.",
        USE,
    ),
    "pose.kept": Meaning(
        "Pose kept", "Whether heads that turn still turn: 1 is just as before, 0 is not at all; higher is better.", USE
    ),
    "gaze.kept": Meaning("Gaze kept", "The same for the direction of the eyes; higher is better.", USE),
    "eyes.kept": Meaning("Lids kept", "The same for the opening of the eyes; higher is better.", USE),
    "mouth.kept": Meaning("Mouth kept", "The same for the opening of the mouth; higher is better.", USE),
    "expression.kept": Meaning("Expression kept", "The same for the whole expression; higher is better.", USE),
    "leak_rate": Meaning(
        "Faces left uncovered, per 10,000",
        "Of 10,000 faces in single frames, how many the output still shows as they were; lower is more private, and "
        "none is the aim.",
        LEAKS,
    ),
    "leak_rate.doubtful": Meaning(
        "Doubtful boxes left uncovered, per 10,000",
        "A box is doubtful where one detector alone sees a face, and nobody has looked whether it is one: these count "
        "apart, and in no other figure.",
        LEAKS,
    ),
    "covered_elsewhere": Meaning(
        "Cover precision: changed where no face is",
        "Share of the picture that the output changed outside every face and a third of its size around it; lower "
        "leaves more of the picture, and none is the aim.",
        PICTURE,
    ),
    "stray_covers": Meaning(
        "Covers that touch no face, a frame",
        "How many changed areas of a frame touch no face at all; lower is better.",
        PICTURE,
    ),
    "frames": Meaning("Frames", "How many frames the original has.", LEAKS),
    "frames_missing": Meaning(
        "Frames missing",
        "How many of them the output lacks, so that nothing can be said of them; none is the aim.",
        LEAKS,
    ),
    "temporal_identity": Meaning(
        "One face from frame to frame",
        "How alike a recogniser finds a face in neighbouring frames of the output (dlib: minus a distance); near the "
        "source's figure is steady.",
        STEADY,
    ),
    "temporal_identity_source": Meaning(
        "One face from frame to frame, in the source", "What the source itself scores.", STEADY
    ),
    "flicker": Meaning(
        "Flicker",
        "How much faces change from frame to frame beside what moved, in grey levels; lower is steadier.",
        STEADY,
    ),
    "flicker_source": Meaning("Flicker of the source", "What the source itself scores.", STEADY),
    "flicker_ratio": Meaning("Flicker against the source", "1 is as steady as the source; lower is steadier.", STEADY),
    "shimmer": Meaning(
        "Shimmer",
        "Flicker beside the output's own motion: what flashes, without what slides over the face; in grey levels.",
        STEADY,
    ),
    "shimmer_source": Meaning("Shimmer of the source", "What the source itself scores: its flicker.", STEADY),
    "shimmer_ratio": Meaning("Shimmer against the source", "1 is as steady as the source; lower is steadier.", STEADY),
    "jitter": Meaning(
        "Jitter", "How much eyes, nose and mouth shake, in distances between the eyes; lower is steadier.", STEADY
    ),
    "jitter_source": Meaning("Jitter of the source", "What the source itself scores.", STEADY),
    "jitter_ratio": Meaning("Jitter against the source", "1 is as steady as the source; lower is steadier.", STEADY),
    "seam": Meaning(
        "Seam", "How sharp the edge of the drawn face is, in grey levels a pixel; near the source is invisible.", STEADY
    ),
    "seam_source": Meaning("Seam of the source", "What the source itself scores in the same places.", STEADY),
    "seam_ratio": Meaning("Seam against the source", "1 is no visible seam; lower is softer.", STEADY),
    "pairing": Meaning(
        "Linked to the original by surroundings",
        "Share of outputs whose surroundings, face left out, are nearer to their own original's than to any other's: "
        "so many can be matched by background, whatever the face shows. Below 50 %, pictures were mixed up, and "
        "nothing here counts.",
        IDENTITY,
    ),
    "pairing_chance": Meaning("Linked by surroundings: chance", "What guessing blindly would reach.", IDENTITY),
    "threshold": Meaning(
        "Threshold of the recogniser",
        "The score above which it takes two faces for one person, as its makers count: dlib's is minus a distance. On "
        "the scale of how near a face is to being recognised it is 1.",
    ),
    "delta": Meaning("Mean likeness of strangers", "What the De-Identify Rate compares with: delta of Zhao et al."),
}

ATTACKERS = {
    "surroundings": ("Surroundings", "looks at hair, outline, clothes and background alone, the face filled"),
    "recognition": ("Recognition", "compares with photos of known people as they are, and learns nothing"),
    "parrot": ("Parrot", "learns from covered photos of the people it wants to know, made with the same tool"),
    "linking": ("Linking", "asks which of two recordings show the same person, without a photo of anybody"),
    "inversion": ("Inversion", "trains a network to undo the cover, and recognises people in what it draws"),
    "averaging": ("Averaging", "lays many frames of a clip over each other"),
    "motion": ("Motion", "looks at how lids, lips and brows move, and at nothing else"),
}
for _name, (_title, _does) in ATTACKERS.items():
    GLOSSARY |= {
        _name: Meaning(
            f"{_title}: people named",
            f"Share of people named at the first guess by an attacker who {_does}; as low as blind guesses is the aim.",
            ATTACKS,
        ),
        f"{_name}_chance": Meaning(f"{_title}: blind guesses", "What guessing alone would have named.", ATTACKS),
        f"{_name}_ahead": Meaning(
            f"{_title}: right before wrong",
            "How often the right person is ranked before a wrong one; one half is guessing, 1 is certainty.",
            ATTACKS,
        ),
        f"{_name}_over_solid": Meaning(
            f"{_title}: beyond hair and surroundings",
            "The same beyond what a solid cover gives away; 0 means that the face adds nothing, less is better.",
            ATTACKS,
        ),
    }

GLOSSARY |= {
    "face_adds": Meaning(
        "What the face adds",
        "People whom the parrot names beyond those named by hair, outline, clothes and background alone, as a share; "
        "0 and less mean that the face gives nothing away.",
        ATTACKS,
    ),
    "parrot_key_adds": Meaning(
        "What the key adds",
        "People whom the parrot names beyond those it names without the key, as a share; 0 means that a stolen key "
        "names nobody.",
        ATTACKS,
    ),
    "expression_kept": Meaning(
        "Movement of the face kept",
        "How the movement of lids, lips and brows in the output correlates with the source's; 1 is all of it.",
        USE,
    ),
    "linkability": Meaning(
        "Linkable across keys",
        "D_sys of ISO/IEC 24745: whether two outputs under different keys are told to show one person; 0 is fully "
        "unlinkable, 1 fully linkable.",
        ATTACKS,
    ),
    "linkability_chance": Meaning(
        "Linkable across keys: shuffled people", "What the same number of pairs of strangers gives.", ATTACKS
    ),
}


def meaning_of(name: str) -> Meaning:
    """Return what a figure means: of "similarity.dlib" that of "similarity", with what follows added to its title."""
    stem, rest = name, ""
    while stem not in GLOSSARY:
        stem, dot, last = stem.rpartition(".")
        if not dot:
            return Meaning(name)
        rest = f"{last}.{rest}" if rest else last
    known, order = GLOSSARY[stem], list(GLOSSARY).index(stem)
    return replace(known, title=f"{known.title} ({rest})" if rest else known.title, order=order)


def short_title(name: str) -> str:
    """Return the title of a figure without its unit."""
    return re.sub(r" \(in [^)]*\)", "", meaning_of(name).title)


def is_privacy(name: str) -> bool:
    """Return whether a figure speaks of privacy; others are of use, or of the measuring itself."""
    return meaning_of(name).topic in PRIVACY


def by_topic(figures: dict[str, Figure]) -> list[Topic]:
    """Return figures under the questions that they answer, in the order of `GLOSSARY`; no empty ones."""
    rows = sorted(((name, meaning_of(name), figure) for name, figure in figures.items()), key=lambda row: row[1].order)
    topics = [Topic(title, tuple(row for row in rows if row[1].topic == title)) for title in TOPICS]
    return [topic for topic in topics if topic.rows]
