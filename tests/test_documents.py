"""What the documents name is there: every link, anchor, command, option and target of make."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from typer.main import get_command

from streamer.cli.main import app

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
CURRENT = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]  # the other tells of what is gone, too
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"(?:^ {4}.*\n?)+", re.MULTILINE)
NOTHING_TO_CHECK = {"--help", "--version"}
COMMAND = get_command(app)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a file."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(path: Path) -> Iterator[str]:
    """The targets of links and pictures that lie in the repository."""
    targets: list[str] = re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", path.read_text()))
    return (target for target in targets if not re.match(r"[a-z]+:", target))


def commands(path: Path) -> Iterator[str]:
    """The lines of blocks of code, joined where a backslash ends one, and what sentences have between backticks."""
    text = FENCE.sub("", path.read_text())
    for block in INDENTED.findall(text):
        yield from block.replace("\\\n", " ").splitlines()
    yield from (re.sub(r"\s+", " ", code) for code in re.findall(r"`([^`]+)`", INDENTED.sub("", text)))


def veil_commands(path: Path) -> Iterator[list[str]]:
    """The words behind `veil` of each command of ours."""
    for line in commands(path):
        command = re.match(r"\s*(?:\w+=\S+ )*(?:docker run .*?)?(?:\.venv/bin/)?veil (.+)", line)
        if command and "…" not in line:
            yield shlex.split(command[1].split(" -- ")[0], comments=True)


def unknown_word(words: list[str]) -> str:
    """Return the first word that the command does not know, or nothing."""
    command: click.Command = COMMAND
    while words and (subcommands := getattr(command, "commands", None)):
        if words[0].startswith("-"):
            break
        if words[0] not in subcommands:
            return words[0]
        command, words = subcommands[words[0]], words[1:]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    options = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    return next((option for option in options if option not in known | NOTHING_TO_CHECK), "")


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_link_leads_to_a_file_and_a_heading_that_exist(path: Path):
    for target in links(path):
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        assert there.is_relative_to(ROOT), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("path", CURRENT, ids=name_of)
def test_every_command_of_a_document_exists_with_its_options(path: Path):
    for words in veil_commands(path):
        assert unknown_word(words) == "", words


def test_commands_are_found_and_wrong_ones_are_told():
    found = [words for path in DOCUMENTS for words in veil_commands(path)]
    assert ["run", "clip.mp4", "safe.mp4"] in found
    assert len(found) > 40
    assert unknown_word(["run", "a", "b", "--nonsense", "1"]) == "--nonsense"
    assert unknown_word(["train", "nonsense", "a"]) == "nonsense"


def test_every_file_of_ours_that_a_sentence_names_exists():
    ours = r"(?:streamer|models|tests|benchmarks|examples|docs)/[\w/.-]+"
    named = {
        (path, code) for path in CURRENT for line in commands(path) for code in re.findall(rf"(?<![\w/.-]){ours}", line)
    }
    assert len(named) > 20
    assert {(path.name, code) for path, code in named if not (ROOT / code).exists()} == set()


def test_targets_of_make_that_documents_name_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        match[1] for path in DOCUMENTS for line in commands(path) if (match := re.match(r"\s*make ([a-z]+)\b", line))
    }
    assert {"demo", "test", "check"} <= named <= targets


def test_the_readme_is_read_in_three_minutes():
    assert len((ROOT / "README.md").read_text().split()) <= 700


def test_every_document_can_be_reached_from_the_readme():
    reached, ahead = set(), [ROOT / "README.md"]
    while ahead:
        path = ahead.pop()
        reached.add(path)
        linked = {(path.parent / target.partition("#")[0]).resolve() for target in links(path)}
        ahead += [one for one in linked if one.suffix == ".md" and one not in reached]
    assert set(DOCUMENTS) <= reached
