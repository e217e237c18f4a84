"""Runs exported files with only their own libraries: `python exports.py FILES.json OUTPUTS.npz`.

FILES.json lists, for each exported file, its path and the path of its input images. The package
that wrote the files cannot be imported here.
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

    metadata = {"chifoumi.json": ""}
    module = torch.export.load(path, extra_files=metadata).module()
    assert json.loads(metadata["chifoumi.json"])["classes"] == ["paper", "rock", "scissors"]
    planes = images.transpose(0, 3, 1, 2) if images.ndim == 4 else images[:, None]
    return module(torch.tensor(np.ascontiguousarray(planes)))["probabilities"].detach().numpy()


if __name__ == "__main__":
    sys.modules["chifoumi_jax"] = None  # type: ignore[assignment]
    files, outputs_file = sys.argv[1:]
    outputs = {}
    for model, images in json.loads(Path(files).read_text()):
        predict = globals()[Path(model).suffix[1:]]
        outputs[model] = predict(model, np.load(images))
    np.savez(outputs_file, **outputs)
