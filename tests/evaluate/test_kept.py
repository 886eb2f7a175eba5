from __future__ import annotations

from pathlib import Path

import numpy as np

from streamer.evaluate.kept import Arrays, Kept


def count_up(calls: list[int]) -> Arrays:
    calls.append(len(calls))
    return {"a b": np.array([len(calls)]), "hash": np.array("text")}


def test_what_was_made_is_found_again_under_the_same_name_and_settings(tmp_path: Path):
    calls: list[int] = []
    for kept, name in ((Kept(tmp_path, "x"), "1"), (Kept(tmp_path, "x"), "1"), (Kept(tmp_path, "y"), "1")):
        found = kept.once(name, lambda: count_up(calls))
        assert str(found["hash"]) == "text"
        assert found.keys() == {"a b", "hash"}
    assert len(calls) == 2
    assert Kept(tmp_path, "x").once("1", lambda: count_up(calls))["a b"] == 1


def test_a_file_that_was_cut_off_is_made_anew(tmp_path: Path):
    calls: list[int] = []
    kept = Kept(tmp_path / "new", "x")
    kept.once("1", lambda: count_up(calls))
    (path,) = (tmp_path / "new").iterdir()
    for length in (0, 10, len(path.read_bytes()) - 30):
        path.write_bytes(path.read_bytes()[:length])
        kept.once("1", lambda: count_up(calls))
    assert len(calls) == 4
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0  # nobody else may look


def test_without_a_folder_nothing_is_kept():
    calls: list[int] = []
    kept = Kept(None, "x")
    assert [int(kept.once("1", lambda: count_up(calls))["a b"][0]) for _ in range(2)] == [1, 2]
