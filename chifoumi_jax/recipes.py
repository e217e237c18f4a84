"""Named, frozen configurations: the study's three trainings, the default one, and for photos."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from chifoumi_jax.errors import RecipeError
from chifoumi_jax.models.cnn import MIN_IMAGE_SIZE

# What `--data` stands for when it is not given: hands that the project renders itself. As many to
# train on as the study had; enough to test on for an error of the accuracy under 1.4 points.
HANDS_TRAIN, HANDS_TEST = 294, 300
MAX_IMAGE_SIZE = 4096


Precision = Literal["float32", "tf32", "bfloat16"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a training, apart from the versions of the software.

    Attributes:
        name: Names the run's folder.
        model: Which architecture: `cnn`, `mlp`, `mlp-v21` (the perceptron with a ReLU behind its
            last layer), or the name of one of `chifoumi_jax.backbones`, as `efficientnet-lite0` and
            `efficientnet-lite0-small`, the larger one's first five stages of seven.
        pretrained: Whether training begins with weights that were trained on ImageNet.
        frozen_stages: How many of the network's first stages stay as they were pretrained, and
            what comes before them.
        head_first: Whether the last layer is then trained alone before the whole network is.
        image_size: Height and width of the network's input, in pixels.
        layout: Whose pixels: `keras` (NEAREST, RGB, times 1/255), `torch` (BILINEAR, gray, / 255),
            `rgb` (BILINEAR with antialiasing, RGB, times 1/255).
        upright: Whether a photo is turned as its EXIF orientation says.
        standardize: Whether each image is centred and scaled to unit deviation on the device.
        loss: `keras` clips probabilities, `logits` is stable, `softmax-twice` is v2.1's slip.
        label_smoothing: Share of a label given to all classes alike; with the loss `logits` only.
        balance: Whether each class weighs as much as the others, however few photos it has.
        optimizer: `keras_adam`, `torch_sgd` or `adamw` (Loshchilov & Hutter 2019).
        learning_rate: The rate, or its peak with a schedule.
        wide_layer: A kernel with more inputs than that learns at a rate that is smaller by as much;
            0 for none. Adam moves each weight alike, and so a unit with many inputs too far.
        momentum: Of `torch_sgd`.
        weight_decay: Of `adamw`; for kernels only.
        clip_norm: Of `adamw`: longer gradients are shortened to it; 0 for none.
        average: Share of the weights' moving average that stays at each step; the average is what
            is evaluated. 0 for none.
        schedule: `constant`, or `cosine` down to zero after `warmup_steps` of a linear rise.
        warmup_steps: Number of steps of the rise.
        epochs: Number of epochs.
        min_steps: Of few photos there are more epochs, until it is that many steps.
        patience: Stop after that many epochs without a better one on the validation photos, and
            keep the best; 0 for never.
        batch_size: Images in a batch; 0 is the whole training set.
        order: `keras` is the study's generator, whose smaller last batch wanders from epoch to
            epoch; `all` shows every image once an epoch.
        precision: Of convolutions and products. `float32` everywhere, which on Hopper GPUs is three
            products of TF32 in convolutions; `tf32` lets an accelerator round factors to 10 bits;
            `bfloat16` computes the network in 16 bits, with weights, loss and optimiser in float32.
        dropout_rate: Share of the units that dropout zeroes.
        dropout_epochs: Dropout is active in that many epochs from the first; -1 is all of them.
        augmentation: `none`, `study-mlp` (rotation, flips), `photo` (flip, shift, light), `strong`
            (any rotation, zoom, light, colour, blur, erasing) or `upright` (the same without
            flips, and turned by 15 degrees at most).
        mirror_test: Whether a photo's probabilities are the mean of its own and its mirror image's;
            the last layer is then trained on both, where it is trained first.
        augment_test: Also test on one fixed augmentation of the test images, as the study did.
        data: A folder of photos, or None for rendered hands.
        hands: How many rendered hands, as varied as photos are, are trained on besides, where the
            classes are paper, rock and scissors; three times as many where `data` is None.
        groups: CSV file with the columns path and session; no session is split.
        train_list: Text file of paths that selects the training photos.
        test_list: Text file of paths that selects the test photos.
        valid_share: Of the training photos, to validate on where no folder says what to.
        strict: Whether a bad file refuses the whole folder.
        seed: Of the split, the initial weights, the order, dropout and augmentation.
        runs: Folder that gets a new folder for each run.
    """

    name: str
    model: str
    pretrained: bool = False
    frozen_stages: int = 0
    head_first: bool = False
    image_size: int
    layout: Literal["keras", "torch", "rgb"]
    upright: bool = False
    standardize: bool = False
    loss: Literal["keras", "logits", "softmax-twice"]
    label_smoothing: float = 0.0
    balance: bool = False
    optimizer: Literal["keras_adam", "torch_sgd", "adamw"]
    learning_rate: float
    wide_layer: int = 0
    momentum: float = 0.0
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    average: float = 0.0
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = 0
    epochs: int
    min_steps: int = 0
    patience: int = 0
    batch_size: int
    order: Literal["keras", "all"] = "all"
    precision: Precision = "float32"
    dropout_rate: float
    dropout_epochs: int = -1
    augmentation: Literal["none", "study-mlp", "photo", "strong", "upright"] = "none"
    mirror_test: bool = False
    augment_test: bool = False
    data: Path | None = None
    hands: int = 0
    groups: Path | None = None
    train_list: Path | None = None
    test_list: Path | None = None
    valid_share: float = 0.0
    strict: bool = False
    seed: int = 0
    runs: Path = Path("runs")

    def __post_init__(self) -> None:
        """Raise `RecipeError` for a value that no training could use."""
        is_mlp = self.model in ("mlp", "mlp-v21")
        size_fits = MIN_IMAGE_SIZE <= self.image_size <= MAX_IMAGE_SIZE
        checks = {
            f"epochs must be at least 1, not {self.epochs}": self.epochs >= 1,
            f"batch_size must be at least 1, or 0 for the whole training set, not "
            f"{self.batch_size}": self.batch_size >= 0,
            f"learning_rate must be above 0 and below 1e38, not {self.learning_rate}": 0
            < self.learning_rate
            < 1e38,
            f"valid_share must be from 0 to 0.8, not {self.valid_share}": 0
            <= self.valid_share
            <= 0.8,
            f"hands must be at least 0, not {self.hands}": self.hands >= 0,
            f"patience must be at least 0, not {self.patience}": self.patience >= 0,
            f"seed must be from 0 to 2**32 - 1, not {self.seed}": 0 <= self.seed < 2**32,
            f"image_size must be from {MIN_IMAGE_SIZE} to {MAX_IMAGE_SIZE}, not "
            f"{self.image_size}": is_mlp or size_fits,
            f"image_size must be 32 for the MLP, not {self.image_size}": not is_mlp
            or self.image_size == 32,
            "groups and lists select photos of a folder: give --data too": self.data is not None
            or not (self.groups or self.train_list or self.test_list),
            f"the runs' folder {self.runs} lies in the photos' folder {self.data}, which is never "
            "written to: name another with --runs (for crossval, with --out)": self.data is None
            or not self.runs.resolve().is_relative_to(self.data.resolve()),
        }
        for message, holds in checks.items():
            if not holds:
                raise RecipeError(message)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one image's pixels: (height, width, 3), or (height, width) if gray."""
        channels = () if self.layout == "torch" else (3,)
        return (self.image_size, self.image_size, *channels)

    @property
    def all_hands(self) -> int:
        """How many varied hands are trained on: more where there are no photos beside them."""
        return self.hands if self.data is not None else 3 * self.hands

    def directed(self) -> Recipe:
        """A copy for classes that differ in direction alone: nothing is mirrored or turned far.

        Raises:
            RecipeError: If the recipe knows no such way.
        """
        if self.augmentation not in ("strong", "upright"):
            raise RecipeError(
                f"the recipe {self.name} cannot leave directions alone: take transfer or small"
            )
        return self.replace(augmentation="upright", mirror_test=False)

    def absolute(self) -> Recipe:
        """A copy whose paths do not depend on the current folder, as a run keeps it."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return self.replace(
            **{name: value.absolute() for name, value in fields.items() if isinstance(value, Path)}
        )

    def replace(self, **changes: object) -> Recipe:
        """A copy with some fields changed; a `str` will do where a path is meant."""
        for field in ("data", "groups", "train_list", "test_list", "runs"):
            if isinstance(value := changes.get(field), str):
                changes[field] = Path(value)
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


study_cnn = Recipe(
    name="study-cnn",
    model="cnn",
    image_size=600,
    layout="keras",
    loss="keras",
    optimizer="keras_adam",
    learning_rate=1e-3,
    epochs=10,
    batch_size=25,
    order="keras",
    dropout_rate=0.5,
)

study_mlp = Recipe(
    name="study-mlp",
    model="mlp",
    image_size=32,
    layout="torch",
    loss="logits",
    optimizer="torch_sgd",
    learning_rate=0.01,
    momentum=0.5,
    epochs=100,
    batch_size=32,
    dropout_rate=0.2,
    dropout_epochs=1,
    augmentation="study-mlp",
    augment_test=True,
)

study_mlp_v21 = study_mlp.replace(
    name="study-mlp-v21",
    model="mlp-v21",
    loss="softmax-twice",
    learning_rate=0.001,
    momentum=0.9,
    epochs=5,
    batch_size=0,
    dropout_rate=0.0,
    dropout_epochs=0,
)

cnn = study_cnn.replace(
    name="cnn",
    upright=True,
    standardize=True,
    loss="logits",
    learning_rate=5e-4,
    # The first dense layer's inputs at 300 pixels: above, the plain rate was measured too large.
    wide_layer=78_400,
    schedule="cosine",
    warmup_steps=37,
    batch_size=8,
    # Of 64 units, half of them at a time, the network learnt real photos too slowly: 1 run of 3
    # stayed at chance at 600 pixels. Moving and mirroring the images takes dropout's place.
    dropout_rate=0.0,
    order="all",
    augmentation="photo",
)

transfer = Recipe(
    name="transfer",
    model="efficientnet-lite0",
    pretrained=True,
    frozen_stages=2,
    head_first=True,
    image_size=128,
    layout="rgb",
    upright=True,
    loss="logits",
    label_smoothing=0.1,
    balance=True,
    optimizer="adamw",
    learning_rate=5e-4,
    weight_decay=1e-4,
    clip_norm=1.0,
    average=0.99,
    schedule="cosine",
    warmup_steps=50,
    hands=1200,
    epochs=12,
    min_steps=200,
    batch_size=32,
    dropout_rate=0.2,
    augmentation="strong",
    mirror_test=True,
)

small = transfer.replace(name="small", model="efficientnet-lite0-small")

RECIPES = {
    recipe.name: recipe for recipe in (cnn, transfer, small, study_cnn, study_mlp, study_mlp_v21)
}
