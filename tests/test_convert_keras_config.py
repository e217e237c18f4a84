"""Which Keras configurations are the study's network, and how others are named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chifoumi_jax.convert import WeightsError, from_keras
from chifoumi_jax.convert.keras_config import Network, check_config
from chifoumi_jax.convert.untrusted.limits import MAX_JSON_BYTES
from chifoumi_jax.convert.untrusted.strict_json import parse
from tests.weights import cnn_arrays, keras_config, keras_model, write_keras, write_legacy

Config = dict[str, Any]


def layer(config: Config, kind: str, number: int = 0) -> Config:
    found = [entry for entry in config["config"]["layers"] if entry["class_name"] == kind]
    entry: Config = found[number]
    return entry


@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
def test_the_networks_configuration(functional: bool, legacy: bool) -> None:
    config = keras_config(64, functional=functional, legacy=legacy)
    names = tuple(
        entry["config"]["name"]
        for entry in config["config"]["layers"]
        if entry["class_name"] in ("Conv2D", "Dense")
    )
    assert check_config(config, "float32") == Network(64, 3, 0.5, names)


@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize("options", [{}, {"softmax": False}, {"dropout": None}])
def test_configurations_of_the_real_keras(functional: bool, options: Any) -> None:
    config = json.loads(keras_model(64, 5, functional=functional, **options).to_json())
    network = check_config(config, "float32")
    assert (network.image_size, network.num_classes) == (64, 5)
    assert network.dropout_rate == (0 if "dropout" in options else 0.5)
    assert len(network.layers) == 5


def test_activations_within_layers_and_apart() -> None:
    config = keras_config()
    layers = config["config"]["layers"]
    for index in reversed([i for i, e in enumerate(layers) if e["class_name"] == "Activation"]):
        activation = layers[index]["config"]["activation"]
        before = layers[index - 1]
        if activation == "softmax":
            layers[index] |= {"class_name": "Softmax"}
            layers[index]["config"] = {"name": "s", "axis": -1}
        elif before["class_name"] == "Dense":
            layers[index] |= {"class_name": "ReLU"}
            relu = {"name": "r", "max_value": None, "negative_slope": 0.0, "threshold": 0.0}
            layers[index]["config"] = relu
        else:
            before["config"]["activation"] = activation
            del layers[index]
    assert check_config(config, "float32").num_classes == 3


def test_how_the_model_was_trained_is_not_read() -> None:
    config = keras_config()
    config["compile_config"] = {"loss": {"module": "mine", "registered_name": "mine>Loss"}}
    assert check_config(config, "float32").num_classes == 3


def put(kind: str, key: str, value: Any, number: int = 0) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        layer(config, kind, number)["config"][key] = value

    return change


def drop(kind: str, key: str) -> Callable[[Config], None]:
    return lambda config: layer(config, kind)["config"].pop(key)


def origin(kind: str, **values: Any) -> Callable[[Config], None]:
    return lambda config: layer(config, kind).update(values)


def insert(index: int, kind: str, **settings: Any) -> Callable[[Config], None]:
    entry = {"class_name": kind, "config": {"name": "new"} | settings}
    return lambda config: config["config"]["layers"].insert(index, entry)


def remove(kind: str, number: int = 0) -> Callable[[Config], None]:
    return lambda config: config["config"]["layers"].remove(layer(config, kind, number))


def sizes(first: Any, second: Any) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        layer(config, "InputLayer")["config"]["batch_shape"] = first
        config["build_config"] = {"input_shape": second}

    return change


def body(**values: Any) -> Callable[[Config], None]:
    return lambda config: config["config"].update(values)


POLICY = {"class_name": "DTypePolicy", "config": {"name": "mixed_float16"}}
CONNECTED = {"class_name": "__keras_tensor__", "config": {"keras_history": ["in", 0, 0]}}
CODE = ["4wEAAAAAAAAAAAAAAAEAAAADAAAA8wYAAACXAHwAUwCpAE4=", None, None]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (put("Conv2D", "filters", 16, 1), "gives Conv2D with 16 filters; expected Conv2D with 32"),
        (put("Conv2D", "filters", 32, 2), "gives Conv2D with 32 filters; expected Conv2D with 64"),
        (put("Conv2D", "filters", "32\x1b[2J"), "expected Conv2D with 32"),
        (put("Conv2D", "kernel_size", [5, 5]), r"kernel_size \[5, 5\]; expected \(3, 3\)"),
        (put("Conv2D", "kernel_size", 5), "kernel_size 5"),
        (put("Conv2D", "strides", [2, 2]), "strides"),
        (put("Conv2D", "padding", "same"), "padding 'same'; expected 'valid'"),
        (put("Conv2D", "data_format", "channels_first"), "data_format"),
        (put("Conv2D", "dilation_rate", [2, 2]), "dilation_rate"),
        (put("Conv2D", "groups", 2), "groups 2; expected 1"),
        (put("Conv2D", "use_bias", False), "use_bias False"),
        (put("Conv2D", "use_bias", 1), "use_bias 1"),
        (put("Conv2D", "lora_rank", 4), "lora_rank"),
        (put("Conv2D", "activation", "relu"), "gives activation relu; expected MaxPooling2D"),
        (
            put("Conv2D", "activation", {"module": "mine", "class_name": "f"}),
            "f of the module mine",
        ),
        (drop("Conv2D", "padding"), "does not say its padding"),
        (drop("Conv2D", "name"), "a layer without a name"),
        (put("Activation", "activation", "tanh", 1), "gives activation tanh; expected activation"),
        (put("Activation", "activation", "MaxPooling2D"), "gives activation MaxPooling2D"),
        (put("Activation", "activation", "linear"), "gives MaxPooling2D; expected activation relu"),
        (put("MaxPooling2D", "pool_size", [3, 3]), "pool_size"),
        (put("MaxPooling2D", "strides", [1, 1]), "strides"),
        (put("MaxPooling2D", "padding", "same"), "padding"),
        (put("Flatten", "data_format", "channels_first"), "data_format"),
        (put("Dense", "units", 128), "gives Dense with 128 units; expected Dense with 64"),
        (put("Dense", "units", 0, 1), "the last layer has 0 units"),
        (put("Dense", "units", 3.0, 1), "the last layer has 3.0 units"),
        (put("Dense", "units", True, 1), "the last layer has True units"),
        (put("Dense", "units", 10**9, 1), "the last layer has 1000000000 units"),
        (put("Dense", "use_bias", False, 1), "use_bias"),
        (put("Dense", "quantization_config", {"mode": "int8"}), "quantization_config"),
        (put("Dropout", "rate", 1.5), "rate 1.5"),
        (put("Dropout", "rate", "0.5"), "rate '0.5'"),
        (put("Dropout", "noise_shape", [1]), "noise_shape"),
        (put("Dense", "dtype", POLICY), "dtype 'mixed_float16'; expected 'float32'"),
        (put("Flatten", "dtype", "float16"), "dtype 'float16'"),
        (insert(1, "Rescaling", scale=0.1), "'new' is a Rescaling, which would change the images"),
        (insert(1, "Lambda", function=CODE), "'new' is a Lambda, which holds code"),
        (insert(4, "BatchNormalization"), "is a BatchNormalization, which is not part"),
        (insert(4, "Sequential", layers=[]), "is a Sequential, which is not part"),
        (insert(4, "Dropout", rate=0.1), "gives Dropout; expected Conv2D with 32 filters"),
        (insert(16, "Dropout", rate=0.1), "'new' stands behind the last one"),
        (insert(5, "InputLayer"), "an InputLayer stands behind the first layer"),
        (remove("MaxPooling2D", 2), "gives Flatten; expected MaxPooling2D"),
        (remove("Flatten"), "gives Dense with 64 units; expected Flatten"),
        (remove("Dense", 1), "'dense_10' gives Dense with 64 units|gives activation softmax"),
        (origin("Conv2D", class_name="Conv2D2"), "is a Conv2D2, which is not part"),
        (origin("Conv2D", class_name=["Conv2D"]), "which is not part"),
        (origin("Conv2D", module="mine.layers"), "uses Conv2D of the module mine.layers"),
        (origin("Conv2D", module="keras_mine"), "of the module keras_mine"),
        (origin("Conv2D", registered_name="mine>Conv2D"), "the registered object mine>Conv2D"),
        (lambda config: config.update(module="mine"), "of the module mine"),
        (lambda config: config.update(registered_name="mine>Net"), "registered object mine>Net"),
        (lambda config: config.update(class_name="Net"), "the model is a Net; expected Seq"),
        (lambda config: config.update(class_name=None), "the model is a None"),
        (lambda config: config.update(config=None), "names no layers"),
        (body(layers=None), "names no layers"),
        (body(layers=[]), "names no layers"),
        (body(layers=[None]), "a layer without a name"),
        (body(layers=[{"class_name": "Flatten", "config": []}]), "a layer without a name"),
        (lambda config: config["config"]["layers"].__delitem__(slice(9, None)), "ends before"),
        (sizes([None, 22, 37, 3], None), r"takes \[None, 22, 37, 3\]"),
        (sizes([None, 22, 22, 1], None), "takes"),
        (sizes([None, 21, 21, 3], None), "takes"),
        (sizes([None, 4096, 4096, 3], None), "with a size of 22 to 2048"),
        (sizes([None, "22", "22", 3], None), "takes"),
        (sizes(22, None), "takes 22"),
        (sizes([None, 22, 22, 3], [None, 37, 37, 3]), r"two image sizes: \[22, 37\]"),
    ],
)
def test_what_differs_is_named(change: Callable[[Config], Any], sentence: str) -> None:
    config = keras_config()
    change(config)
    with pytest.raises(WeightsError, match=sentence):
        check_config(config, "float32")


def inbound(value: Any) -> Callable[[Config], None]:
    return lambda config: layer(config, "Flatten").update(inbound_nodes=value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (inbound([{"args": [CONNECTED], "kwargs": {}}]), "takes in; expected maxpooling2d_8 alone"),
        (inbound([]), "takes nothing; expected maxpooling2d_8"),
        (inbound(None), "does not say how its layers hang together"),
        (inbound(["maxpooling2d_8", 0, 0]), "in a chain"),
        (inbound([[["maxpooling2d_8", 1, 0, {}]]]), "in a chain"),
        (inbound([[["maxpooling2d_8", 0, 0, {"scale": 2}]]]), "in a chain"),
        (inbound([[["maxpooling2d_8", 0, 0, {}]]] * 2), "maxpooling2d_8 and maxpooling2d_8"),
        (inbound([{"args": "maxpooling2d_8", "kwargs": {}}]), "in a chain"),
        (put("Flatten", "name", "dense_10"), "two layers of one name"),
        (body(output_layers=["flatten_9", 0, 0]), "output_layers"),
        (body(input_layers=None), "input_layers"),
    ],
)
def test_a_functional_model_must_be_a_chain(change: Callable[[Config], Any], sentence: str) -> None:
    config = keras_config(functional=True)
    change(config)
    with pytest.raises(WeightsError, match=sentence):
        check_config(config, "float32")


def test_dropout_that_is_called_as_no_training() -> None:
    config = keras_config(functional=True)
    node = layer(config, "Dropout")["inbound_nodes"][0]
    node["kwargs"] = {"training": False}
    assert check_config(config, "float32").dropout_rate == 0.5
    node["kwargs"] = {"training": True}
    with pytest.raises(WeightsError, match="in a chain"):
        check_config(config, "float32")


@pytest.mark.parametrize("config", [None, [], "x", 3, {}, {"class_name": "Sequential"}])
def test_something_else(config: Any) -> None:
    with pytest.raises(WeightsError):
        check_config(config, "float32")


# Against the weights


def test_names_in_the_file_must_be_those_of_the_configuration(tmp_path: Path) -> None:
    config = keras_config(legacy=True)
    path = write_legacy(tmp_path / "x.h5", cnn_arrays(), config)
    import h5py

    layer(config, "Dense")["config"]["name"] = "other"
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(WeightsError, match=r"but its configuration has .*'other'"):
        from_keras(path)


def test_the_classes_must_be_those_of_the_configuration(tmp_path: Path) -> None:
    config = keras_config()
    layer(config, "Dense", 1)["config"]["units"] = 4
    with pytest.raises(WeightsError, match="for 3 classes, but the configuration has 4"):
        from_keras(write_keras(tmp_path / "x.keras", cnn_arrays(), config))


# JSON


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"{'a': 1}", "no JSON"),
        (b'\xef\xbb\xbf{"a": 1}', "no JSON"),
        ('{"a": 1}'.encode("utf-16"), "no JSON in UTF-8"),
        (b'{"a": "\xff"}', "no JSON in UTF-8"),
        (b'{"a": NaN}', "the number NaN"),
        (b"[-Infinity]", "the number -Infinity"),
        (b'{"a": 1, "b": 2, "a": 3}', "gives 'a' twice"),
        (b"1" * 5_000, "no JSON"),
        (b"[" * 100 + b"]" * 100, "nested too deep"),
        (b"[" * 200_000, "nested too deep|no JSON"),
        (b'{"a":' * 40_000, "nested too deep|no JSON"),
        (b" " * (MAX_JSON_BYTES + 1), "more than 262,144 are not read"),
    ],
)
def test_doubtful_json(content: bytes, sentence: str) -> None:
    with pytest.raises(WeightsError, match=f"^it .*(?:{sentence})"):
        parse(content, "it")


def test_plain_json() -> None:
    assert parse('{"a": [1, 0.5, null, "é"]}'.encode(), "it") == {"a": [1, 0.5, None, "é"]}
