"""The names and the folder of heat maps for classified files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chifoumi_jax.errors import RecipeError
from chifoumi_jax.prediction.inputs import Input
from chifoumi_jax.prediction.predict_files import explain_in

PHOTO, HEAT = Image.new("RGB", (40, 30)), np.eye(4, dtype=np.float32)


def answer(file: str) -> dict[str, Any]:
    return {"file": file, "label": "ro\x1bck", "probability": 0.5, "unsure": True}


def test_every_heat_map_gets_a_name_of_its_own(tmp_path: Path) -> None:
    explain = explain_in(tmp_path / "new" / "heat", [])
    files = ["a/x.png", "b/x.jpg", ".hidden", "-", "é" * 200 + ".png", "n\udcff.png"]
    paths = [explain(answer(file), PHOTO, HEAT) for file in files]
    assert [path.name for path in paths] == [
        *("x-heat.png", "x-heat-2.png", "hidden-heat.png", "photo-heat.png"),
        *("é" * 60 + "-heat.png", "n\udcff-heat.png"),
    ]
    for path in paths:
        with Image.open(path) as sheet:
            assert sheet.width > 2 * PHOTO.width and sheet.height > PHOTO.height


def test_heat_maps_are_never_written_into_the_photos_folder(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "file").touch()
    from_folder, named = (
        Input(f"{tmp_path}/a/b/x.png", folder=f"{tmp_path}/a"),
        Input(f"{tmp_path}/y.png"),
    )
    for directory in ("a", "a/new", "a/b/c", "a/../a"):
        with pytest.raises(RecipeError, match="never written to"):
            explain_in(tmp_path / directory, [from_folder])
    with pytest.raises(RecipeError, match="never written to"):
        explain_in(tmp_path, [named])
    with pytest.raises(RecipeError, match="is a file"):
        explain_in(tmp_path / "file", [named])
    explain_in(tmp_path / "heat", [from_folder, named])
