"""Opens exported files with their own libraries alone: `python exports.py FILES.json ANSWERS.npz`.

FILES.json lists, for each file, its path and the images that it is to be asked about. The package
that wrote them cannot be imported here.
"""

import json
import sys
from pathlib import Path

import numpy as np


def onnx(path: str, images: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["probabilities"], {"images": images})[0]


def stablehlo(path: str, images: np.ndarray) -> np.ndarray:
    import jax
    import jax.export

    exported = jax.export.deserialize(bytearray(Path(path).read_bytes()))
    assert json.loads(exported.fun_name)["classes"] == ["paper", "rock", "scissors"]
    assert {"cpu", "cuda"} <= set(exported.platforms)
    return np.asarray(jax.jit(exported.call)(images)["probabilities"])


def keras(path: str, images: np.ndarray) -> np.ndarray:
    import keras

    return np.asarray(keras.saving.load_model(path).predict(images, batch_size=5, verbose=0))


def pt2(path: str, images: np.ndarray) -> np.ndarray:
    import torch

    about = {"chifoumi.json": ""}
    module = torch.export.load(path, extra_files=about).module()
    assert json.loads(about["chifoumi.json"])["classes"] == ["paper", "rock", "scissors"]
    planes = images.transpose(0, 3, 1, 2) if images.ndim == 4 else images[:, None]
    return module(torch.tensor(np.ascontiguousarray(planes)))["probabilities"].detach().numpy()


if __name__ == "__main__":
    sys.modules["chifoumi_jax"] = None  # type: ignore[assignment]
    given, answered = sys.argv[1:]
    answers = {}
    for model, photos in json.loads(Path(given).read_text()):
        ask = globals()[Path(model).suffix[1:]]
        answers[model] = ask(model, np.load(photos))
    np.savez(answered, **answers)
