"""What a training depends on, and six named recipes.

`cnn` (the default) is the study's network, trained as it is done today. `transfer` and `small`
begin with ImageNet weights. `study-cnn`, `study-mlp` and `study-mlp-v21` are the study's trainings.
"""

from __future__ import annotations

import dataclasses
import difflib
import textwrap
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import numpy as np

from chifoumi_jax.architectures import IMAGE_SIZES
from chifoumi_jax.backbones import find_architecture
from chifoumi_jax.errors import RecipeError

# With `data=None` the project renders hands: as many training images as the study had, and 300 test
# images, with which the standard error of an accuracy of 94 % is 1.4 percentage points.
HANDS_TRAIN, HANDS_TEST = 294, 300

Precision = Literal["float32", "tf32", "bfloat16"]


class Setting(NamedTuple):
    """Declaration of a field of `Recipe`, in addition to its type and its default.

    Attributes:
        help: The meaning of the field, for the command line and the documentation.
        option: Whether `chifoumi train` has an option for it.
        compiled: Whether `training.program.build` may read it. Otherwise the cache key of the
            compiled program holds `stand_in` instead of its value. True is always correct, and at
            worst costs a compilation.
        stand_in: Value in the cache key; needed only by a field without a default, which is the
            value otherwise.
    """

    help: str
    option: bool = False
    compiled: bool = True
    stand_in: Any = None


def option(help: str, *, compiled: bool = True, stand_in: Any = None) -> Setting:
    """A setting that `chifoumi train` has an option for; see `Setting`."""
    return Setting(help, option=True, compiled=compiled, stand_in=stand_in)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a training depends on, except the versions of the software."""

    name: Annotated[str, Setting("Prefix of the run's folder.", compiled=False, stand_in="")]
    data: Annotated[
        Path | None,
        option(
            "Folder <class>/<photos> or {train,valid,test}/<class>/<photos>; without it, rendered "
            "hands.",
            compiled=False,
        ),
    ] = None
    groups: Annotated[
        Path | None,
        option("CSV file with the columns path,session; a session is never split.", compiled=False),
    ] = None
    train_list: Annotated[
        Path | None,
        option("Text file of paths, one a line: the training photos.", compiled=False),
    ] = None
    test_list: Annotated[
        Path | None, option("Text file of paths, one a line: the test photos.", compiled=False)
    ] = None
    valid_share: Annotated[
        float,
        option(
            "Share of the training photos to validate on, if there is no folder valid; with groups "
            "it consists of whole sessions.",
            compiled=False,
        ),
    ] = 0.0
    strict: Annotated[
        bool,
        option("Refuse a folder with a bad file instead of leaving the file out.", compiled=False),
    ] = False
    hands: Annotated[
        int,
        option(
            "Number of rendered hands to train on besides the photos, if the classes are paper, "
            "rock and scissors. Without --data, rendered hands are all that is trained on, three "
            "times this number.",
            compiled=False,
        ),
    ] = 0
    seed: Annotated[
        int,
        option(
            "Seed of the split, the initial weights, the order, dropout and augmentation.",
            compiled=False,
        ),
    ] = 0
    runs: Annotated[Path, option("Folder that gets a new folder for each run.", compiled=False)] = (
        Path("runs")
    )
    model: Annotated[
        str,
        Setting(
            "Architecture: cnn, mlp, mlp-v21 (the perceptron with a ReLU after its last layer), or "
            "the name of one of chifoumi_jax.backbones, such as efficientnet-lite0 or "
            "efficientnet-lite0-small, which has the first five of its seven stages."
        ),
    ]
    pretrained: Annotated[bool, Setting("Whether training begins with ImageNet weights.")] = False
    frozen_stages: Annotated[
        int, Setting("Number of first stages that keep their pretrained weights.")
    ] = 0
    head_first: Annotated[
        bool, Setting("Whether the last layer is trained alone before the whole network is.")
    ] = False
    image_size: Annotated[int, option("Height and width of the network's input, in pixels.")]
    layout: Annotated[
        Literal["keras", "torch", "rgb"],
        Setting(
            "How a photo becomes an array: keras (resized with NEAREST, RGB, multiplied by 1/255), "
            "torch (BILINEAR, gray, divided by 255, which differs in the last bit), rgb (BILINEAR "
            "with antialiasing, RGB, multiplied by 1/255)."
        ),
    ]
    upright: Annotated[bool, Setting("Whether a photo is rotated by its EXIF orientation.")] = False
    standardize: Annotated[
        bool,
        Setting("Whether each image is centred and scaled to unit deviation, on the device."),
    ] = False
    loss: Annotated[
        Literal["keras", "logits", "softmax-twice"],
        Setting(
            "Cross-entropy: keras clips probabilities, logits is stable, softmax-twice is the "
            "mistake of the study's version 2.1."
        ),
    ]
    label_smoothing: Annotated[
        float, Setting("Share of a label that is spread over all classes; with loss logits only.")
    ] = 0.0
    balance: Annotated[
        bool, Setting("Whether all classes have equal weight, however few photos one has.")
    ] = False
    optimizer: Annotated[
        Literal["keras_adam", "torch_sgd", "adamw"],
        Setting("Optimizer; adamw is that of Loshchilov & Hutter 2019."),
    ]
    learning_rate: Annotated[float, option("Learning rate; with a schedule its peak.")]
    wide_layer: Annotated[
        int,
        Setting(
            "With keras_adam: a kernel with n > wide_layer inputs learns at learning_rate * "
            "wide_layer / n, because Adam moves every weight equally far, and n such moves add up "
            "in an output; 0 for none."
        ),
    ] = 0
    momentum: Annotated[float, Setting("Momentum of torch_sgd.")] = 0.0
    weight_decay: Annotated[float, Setting("Weight decay of adamw, for kernels only.")] = 0.0
    clip_norm: Annotated[
        float, Setting("Largest global norm of the gradient with adamw; 0 for none.")
    ] = 0.0
    average: Annotated[
        float,
        Setting(
            "Decay of the exponential moving average of the weights, which is what is evaluated; "
            "0 for none."
        ),
    ] = 0.0
    schedule: Annotated[
        Literal["constant", "cosine"],
        Setting("Learning rate schedule; cosine falls to zero after a linear warm-up."),
    ] = "constant"
    warmup_steps: Annotated[int, Setting("Number of steps of the warm-up.")] = 0
    epochs: Annotated[int, option("Number of epochs.", compiled=False, stand_in=1)]
    min_steps: Annotated[
        int,
        Setting("Minimum number of steps; with few photos it needs more epochs.", compiled=False),
    ] = 0
    patience: Annotated[
        int,
        option(
            "Early stopping: stop after this many epochs without a better result on the validation "
            "photos, and keep the best epoch; 0 for never.",
            compiled=False,
        ),
    ] = 0
    batch_size: Annotated[
        int, option("Photos in a step; 0 for all of them.", compiled=False, stand_in=0)
    ]
    order: Annotated[
        Literal["keras", "all"],
        Setting(
            "all shows every image once per epoch; keras does as the study's generator: an epoch "
            "has only as many steps as whole batches, so that the smaller last batch of a pass "
            "moves through the epochs.",
            compiled=False,
        ),
    ] = "all"
    precision: Annotated[
        Precision,
        option(
            "Precision of convolutions and matrix products: float32; tf32, faster on a GPU; or "
            "bfloat16, the fastest on a GPU and slow on a CPU. Weights, loss and optimizer stay in "
            "float32."
        ),
    ] = "float32"
    dropout_rate: Annotated[float, Setting("Share of the units that dropout sets to zero.")]
    dropout_epochs: Annotated[
        int,
        Setting("Number of first epochs in which dropout is active; -1 for all.", compiled=False),
    ] = -1
    augmentation: Annotated[
        Literal["none", "study-mlp", "photo", "strong", "upright"],
        Setting(
            "none; study-mlp (rotation, flips); photo (flip, shift, light); strong (any rotation, "
            "zoom, light, colour, blur, erasing); upright (as strong, but no flip, and a rotation "
            "of 15 degrees at most)."
        ),
    ] = "none"
    mirror_test: Annotated[
        bool,
        Setting(
            "Whether probabilities are the mean over the photo and its mirror image. With "
            "head_first, the last layer alone is also trained on both."
        ),
    ] = False
    augment_test: Annotated[
        bool,
        Setting("Whether the test is repeated on augmented test images, as in the study."),
    ] = False

    def __post_init__(self) -> None:
        """Raise `RecipeError` for a value that no training can use."""
        for name, hint in TYPES.items():
            _require_type(name, getattr(self, name), hint)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise RecipeError(
                    f"{name} must be one of {', '.join(choices)}, not {getattr(self, name)}"
                )
        # A recipe may name a network that is registered later; `build_model` refuses unknown ones.
        network = find_architecture(self.model)
        sizes = network.image_sizes if network else IMAGE_SIZES
        wanted = f"{sizes[0]}" if len(sizes) == 1 else f"from {sizes[0]} to {sizes[-1]}"
        rules = [
            (self.epochs >= 1, f"epochs must be at least 1, not {self.epochs}"),
            (
                self.batch_size >= 0,
                "batch_size must be at least 1, or 0 for the whole training set, not "
                f"{self.batch_size}",
            ),
            # The largest float32 is 3.4e38.
            (
                0 < self.learning_rate < 1e38,
                f"learning_rate must be above 0 and below 1e38, not {self.learning_rate}",
            ),
            (
                0 <= self.valid_share <= 0.8,
                f"valid_share must be from 0 to 0.8, not {self.valid_share}",
            ),
            (self.hands >= 0, f"hands must be at least 0, not {self.hands}"),
            (self.patience >= 0, f"patience must be at least 0, not {self.patience}"),
            (0 <= self.seed < 2**32, f"seed must be from 0 to 2**32 - 1, not {self.seed}"),
            (
                self.image_size in sizes,
                f"image_size must be {wanted} for {self.model}, not {self.image_size}",
            ),
            (
                self.data is not None or not (self.groups or self.train_list or self.test_list),
                "groups and lists select photos of a folder: give --data too",
            ),
            (
                self.data is None or not self.runs.resolve().is_relative_to(self.data.resolve()),
                f"the runs' folder {self.runs} lies in the photos' folder {self.data}, which is "
                "never written to: name another with --runs (for crossval, with --out)",
            ),
        ]
        for holds, message in rules:
            if not holds:
                raise RecipeError(message)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one image's pixels: (height, width, 3), or (height, width) if gray."""
        channels = () if self.layout == "torch" else (3,)
        return (self.image_size, self.image_size, *channels)

    @property
    def rendered_hands(self) -> int:
        """Number of rendered hands to train on: `hands`, or three times as many without photos."""
        return self.hands if self.data is not None else 3 * self.hands

    def directed(self) -> Recipe:
        """A copy for classes that differ in direction: no mirroring, and no large rotation.

        Raises:
            RecipeError: If it has no augmentation for such classes; only `transfer` and `small` do.
        """
        if self.augmentation not in ("strong", "upright"):
            raise RecipeError(
                f"the recipe {self.name} does not support --directed: take transfer or small"
            )
        return self.replace(augmentation="upright", mirror_test=False)

    def absolute(self) -> Recipe:
        """A copy with absolute paths, as a run saves it."""
        paths = {name: getattr(self, name) for name in PATHS}
        return self.replace(
            **{name: path.absolute() for name, path in paths.items() if path is not None}
        )

    def replace(self, **changes: object) -> Recipe:
        """A copy with some fields changed; paths may be `str`, and numbers NumPy's.

        Raises:
            RecipeError: If there is no such field, or no training can use the value.
        """
        for name in changes:
            if name not in TYPES:
                similar = difflib.get_close_matches(name, TYPES, n=1)
                hint = f"; did you mean {similar[0]}?" if similar else ""
                raise RecipeError(f"a recipe has no field {name}{hint}")
        plain: dict[str, Any] = {}
        for name, value in changes.items():
            if name in PATHS and isinstance(value, str):
                plain[name] = Path(value)
            else:
                # A NumPy number could not be written to the run's `config.json`.
                plain[name] = value.item() if isinstance(value, np.generic) else value
        return dataclasses.replace(self, **plain)

    def program_key(self) -> Recipe:
        """A copy in which the fields that the program may not read have fixed values.

        The program is built from this copy, so that it cannot depend on those fields. With the
        other arguments of `build` it is the key of the cache of compiled programs.
        """
        return self.replace(**_STAND_INS)


# What a field of each type accepts, and what an error calls it.
_KINDS: dict[Any, tuple[Any, str]] = {
    int: (int, "an integer"),
    float: (int | float, "a number"),
    bool: (bool, "True or False"),
    str: (str, "text"),
    Path: (Path, "a path"),
}


def _require_type(name: str, value: object, hint: Any) -> None:
    """Raise `RecipeError` if a field's value has another type than its hint says."""
    allowed = [_KINDS[kind] for kind in get_args(hint) or (hint,) if kind in _KINDS]
    if not allowed or (value is None and type(None) in get_args(hint)):
        return
    # A bool is an int for Python, but no number of epochs.
    is_number_as_bool = isinstance(value, bool) and (bool, "True or False") not in allowed
    if is_number_as_bool or not any(isinstance(value, kind) for kind, _ in allowed):
        expected = " or ".join(text for _, text in allowed)
        raise RecipeError(f"{name} must be {expected}, not {value!r}")


def _settings() -> dict[str, Setting]:
    hints = get_type_hints(Recipe, include_extras=True)
    # The first argument of `Annotated` is the type.
    return {name: get_args(hint)[1] for name, hint in hints.items()}


SETTINGS = _settings()
"""The `Setting` of each field of `Recipe`, by name."""

TYPES: dict[str, Any] = get_type_hints(Recipe)
"""The type of each field of `Recipe`, by name."""

PATHS = tuple(name for name, hint in TYPES.items() if Path in (hint, *get_args(hint)))
"""The fields of `Recipe` that hold paths."""

_CHOICES = {name: get_args(hint) for name, hint in TYPES.items() if get_origin(hint) is Literal}

_DEFAULTS = {field.name: field.default for field in dataclasses.fields(Recipe)}
_STAND_INS = {
    name: _DEFAULTS[name] if setting.stand_in is None else setting.stand_in
    for name, setting in SETTINGS.items()
    if not setting.compiled
}

# The documentation of each field is its help.
Recipe.__doc__ = f"{Recipe.__doc__}\n\n    Attributes:\n" + "\n".join(
    textwrap.fill(
        f"{name}: {setting.help}", 100, initial_indent=" " * 8, subsequent_indent=" " * 12
    )
    for name, setting in SETTINGS.items()
)


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
    # Inputs of the first dense layer at 300 pixels. At 600 pixels, as here, that layer has more,
    # and the plain learning rate was measured to be too high for it.
    wide_layer=78_400,
    schedule="cosine",
    # One epoch of the 294 rendered hands.
    warmup_steps=37,
    batch_size=8,
    # With dropout on half of the 64 units the network learnt real photos too slowly: 1 run of 3
    # stayed at chance at 600 pixels. Shifting and mirroring the images replaces dropout.
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
