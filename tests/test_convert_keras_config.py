"""Keras configurations of the study's network are accepted; differences are named."""

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


def find_layer(config: Config, kind: str, number: int = 0) -> Config:
    found = [entry for entry in config["config"]["layers"] if entry["class_name"] == kind]
    entry: Config = found[number]
    return entry


@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize("legacy", [False, True])
def test_configurations_of_the_network_are_accepted(functional: bool, legacy: bool) -> None:
    config = keras_config(64, functional=functional, legacy=legacy)
    names = tuple(
        entry["config"]["name"]
        for entry in config["config"]["layers"]
        if entry["class_name"] in ("Conv2D", "Dense")
    )
    assert check_config(config, "float32") == Network(64, 3, 0.5, names)


@pytest.mark.parametrize("functional", [False, True])
@pytest.mark.parametrize("options", [{}, {"softmax": False}, {"dropout": None}])
def test_configurations_of_the_real_keras_are_accepted(functional: bool, options: Any) -> None:
    config = json.loads(keras_model(64, 5, functional=functional, **options).to_json())
    network = check_config(config, "float32")
    assert (network.image_size, network.num_classes) == (64, 5)
    assert network.dropout_rate == (0 if "dropout" in options else 0.5)
    assert len(network.layers) == 5


def test_activations_may_be_separate_layers_or_arguments() -> None:
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


def test_the_training_configuration_is_ignored() -> None:
    config = keras_config()
    config["compile_config"] = {"loss": {"module": "mine", "registered_name": "mine>Loss"}}
    assert check_config(config, "float32").num_classes == 3


def set_setting(kind: str, key: str, value: Any, number: int = 0) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        find_layer(config, kind, number)["config"][key] = value

    return change


def drop_setting(kind: str, key: str) -> Callable[[Config], None]:
    return lambda config: find_layer(config, kind)["config"].pop(key)


def update_entry(kind: str, **values: Any) -> Callable[[Config], None]:
    return lambda config: find_layer(config, kind).update(values)


def insert_layer(index: int, kind: str, **settings: Any) -> Callable[[Config], None]:
    entry = {"class_name": kind, "config": {"name": "new"} | settings}
    return lambda config: config["config"]["layers"].insert(index, entry)


def remove_layer(kind: str, number: int = 0) -> Callable[[Config], None]:
    return lambda config: config["config"]["layers"].remove(find_layer(config, kind, number))


def set_sizes(first: Any, second: Any) -> Callable[[Config], None]:
    def change(config: Config) -> None:
        find_layer(config, "InputLayer")["config"]["batch_shape"] = first
        config["build_config"] = {"input_shape": second}

    return change


def set_body(**values: Any) -> Callable[[Config], None]:
    return lambda config: config["config"].update(values)


POLICY = {"class_name": "DTypePolicy", "config": {"name": "mixed_float16"}}
CONNECTED = {"class_name": "__keras_tensor__", "config": {"keras_history": ["in", 0, 0]}}
CODE = ["4wEAAAAAAAAAAAAAAAEAAAADAAAA8wYAAACXAHwAUwCpAE4=", None, None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            set_setting("Conv2D", "filters", 16, 1),
            "gives Conv2D with 16 filters; expected Conv2D with 32",
        ),
        (
            set_setting("Conv2D", "filters", 32, 2),
            "gives Conv2D with 32 filters; expected Conv2D with 64",
        ),
        (set_setting("Conv2D", "filters", "32\x1b[2J"), "expected Conv2D with 32"),
        (set_setting("Conv2D", "kernel_size", [5, 5]), r"kernel_size \[5, 5\]; expected \(3, 3\)"),
        (set_setting("Conv2D", "kernel_size", 5), "kernel_size 5"),
        (set_setting("Conv2D", "strides", [2, 2]), "strides"),
        (set_setting("Conv2D", "padding", "same"), "padding 'same'; expected 'valid'"),
        (set_setting("Conv2D", "data_format", "channels_first"), "data_format"),
        (set_setting("Conv2D", "dilation_rate", [2, 2]), "dilation_rate"),
        (set_setting("Conv2D", "groups", 2), "groups 2; expected 1"),
        (set_setting("Conv2D", "use_bias", False), "use_bias False"),
        (set_setting("Conv2D", "use_bias", 1), "use_bias 1"),
        (set_setting("Conv2D", "lora_rank", 4), "lora_rank"),
        (
            set_setting("Conv2D", "activation", "relu"),
            "gives activation relu; expected MaxPooling2D",
        ),
        (
            set_setting("Conv2D", "activation", {"module": "mine", "class_name": "f"}),
            "f of the module mine",
        ),
        (drop_setting("Conv2D", "padding"), "does not say its padding"),
        (drop_setting("Conv2D", "name"), "a layer without a name"),
        (
            set_setting("Activation", "activation", "tanh", 1),
            "gives activation tanh; expected activation",
        ),
        (set_setting("Activation", "activation", "MaxPooling2D"), "gives activation MaxPooling2D"),
        (
            set_setting("Activation", "activation", "linear"),
            "gives MaxPooling2D; expected activation relu",
        ),
        (set_setting("MaxPooling2D", "pool_size", [3, 3]), "pool_size"),
        (set_setting("MaxPooling2D", "strides", [1, 1]), "strides"),
        (set_setting("MaxPooling2D", "padding", "same"), "padding"),
        (set_setting("Flatten", "data_format", "channels_first"), "data_format"),
        (set_setting("Dense", "units", 128), "gives Dense with 128 units; expected Dense with 64"),
        (set_setting("Dense", "units", 0, 1), "the last layer has 0 units"),
        (set_setting("Dense", "units", 3.0, 1), "the last layer has 3.0 units"),
        (set_setting("Dense", "units", True, 1), "the last layer has True units"),
        (set_setting("Dense", "units", 10**9, 1), "the last layer has 1000000000 units"),
        (set_setting("Dense", "use_bias", False, 1), "use_bias"),
        (set_setting("Dense", "quantization_config", {"mode": "int8"}), "quantization_config"),
        (set_setting("Dropout", "rate", 1.5), "rate 1.5"),
        (set_setting("Dropout", "rate", "0.5"), "rate '0.5'"),
        (set_setting("Dropout", "noise_shape", [1]), "noise_shape"),
        (set_setting("Dense", "dtype", POLICY), "dtype 'mixed_float16'; expected 'float32'"),
        (set_setting("Flatten", "dtype", "float16"), "dtype 'float16'"),
        (
            insert_layer(1, "Rescaling", scale=0.1),
            "'new' is a Rescaling, which would change the images",
        ),
        (insert_layer(1, "Lambda", function=CODE), "'new' is a Lambda, which holds code"),
        (insert_layer(4, "BatchNormalization"), "is a BatchNormalization, which is not part"),
        (insert_layer(4, "Sequential", layers=[]), "is a Sequential, which is not part"),
        (insert_layer(4, "Dropout", rate=0.1), "gives Dropout; expected Conv2D with 32 filters"),
        (insert_layer(16, "Dropout", rate=0.1), "'new' comes after the last expected one"),
        (insert_layer(5, "InputLayer"), "an InputLayer comes after the first layer"),
        (remove_layer("MaxPooling2D", 2), "gives Flatten; expected MaxPooling2D"),
        (remove_layer("Flatten"), "gives Dense with 64 units; expected Flatten"),
        (remove_layer("Dense", 1), "'dense_10' gives Dense with 64 units|gives activation softmax"),
        (update_entry("Conv2D", class_name="Conv2D2"), "is a Conv2D2, which is not part"),
        (update_entry("Conv2D", class_name=["Conv2D"]), "which is not part"),
        (update_entry("Conv2D", module="mine.layers"), "uses Conv2D of the module mine.layers"),
        (update_entry("Conv2D", module="keras_mine"), "of the module keras_mine"),
        (
            update_entry("Conv2D", registered_name="mine>Conv2D"),
            "the registered object mine>Conv2D",
        ),
        (lambda config: config.update(module="mine"), "of the module mine"),
        (lambda config: config.update(registered_name="mine>Net"), "registered object mine>Net"),
        (lambda config: config.update(class_name="Net"), "the model is a Net; expected Seq"),
        (lambda config: config.update(class_name=None), "the model is a None"),
        (lambda config: config.update(config=None), "names no layers"),
        (set_body(layers=None), "names no layers"),
        (set_body(layers=[]), "names no layers"),
        (set_body(layers=[None]), "a layer without a name"),
        (set_body(layers=[{"class_name": "Flatten", "config": []}]), "a layer without a name"),
        (lambda config: config["config"]["layers"].__delitem__(slice(9, None)), "ends before"),
        (set_sizes([None, 22, 37, 3], None), r"takes \[None, 22, 37, 3\]"),
        (set_sizes([None, 22, 22, 1], None), "takes"),
        (set_sizes([None, 21, 21, 3], None), "takes"),
        (set_sizes([None, 4096, 4096, 3], None), "with a size of 22 to 2048"),
        (set_sizes([None, "22", "22", 3], None), "takes"),
        (set_sizes(22, None), "takes 22"),
        (set_sizes([None, 22, 22, 3], [None, 37, 37, 3]), r"two image sizes: \[22, 37\]"),
    ],
)
def test_differences_are_named(change: Callable[[Config], Any], message: str) -> None:
    config = keras_config()
    change(config)
    with pytest.raises(WeightsError, match=message):
        check_config(config, "float32")


def set_inbound_nodes(value: Any) -> Callable[[Config], None]:
    return lambda config: find_layer(config, "Flatten").update(inbound_nodes=value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            set_inbound_nodes([{"args": [CONNECTED], "kwargs": {}}]),
            "takes in as input; expected maxpooling2d_8 only",
        ),
        (set_inbound_nodes([]), "takes nothing as input; expected maxpooling2d_8"),
        (set_inbound_nodes(None), "does not say how its layers are connected"),
        (set_inbound_nodes(["maxpooling2d_8", 0, 0]), "in a chain"),
        (set_inbound_nodes([[["maxpooling2d_8", 1, 0, {}]]]), "in a chain"),
        (set_inbound_nodes([[["maxpooling2d_8", 0, 0, {"scale": 2}]]]), "in a chain"),
        (
            set_inbound_nodes([[["maxpooling2d_8", 0, 0, {}]]] * 2),
            "maxpooling2d_8 and maxpooling2d_8",
        ),
        (set_inbound_nodes([{"args": "maxpooling2d_8", "kwargs": {}}]), "in a chain"),
        (set_setting("Flatten", "name", "dense_10"), "two layers with the same name"),
        (set_body(output_layers=["flatten_9", 0, 0]), "output_layers"),
        (set_body(input_layers=None), "input_layers"),
    ],
)
def test_a_functional_model_must_be_a_chain(change: Callable[[Config], Any], message: str) -> None:
    config = keras_config(functional=True)
    change(config)
    with pytest.raises(WeightsError, match=message):
        check_config(config, "float32")


def test_dropout_may_be_called_with_training_false() -> None:
    config = keras_config(functional=True)
    node = find_layer(config, "Dropout")["inbound_nodes"][0]
    node["kwargs"] = {"training": False}
    assert check_config(config, "float32").dropout_rate == 0.5
    node["kwargs"] = {"training": True}
    with pytest.raises(WeightsError, match="in a chain"):
        check_config(config, "float32")


@pytest.mark.parametrize("config", [None, [], "x", 3, {}, {"class_name": "Sequential"}])
def test_other_values_are_refused(config: Any) -> None:
    with pytest.raises(WeightsError):
        check_config(config, "float32")


# Configurations that contradict the weights


def test_layer_names_must_match_the_configuration(tmp_path: Path) -> None:
    config = keras_config(legacy=True)
    path = write_legacy(tmp_path / "x.h5", cnn_arrays(), config)
    import h5py

    find_layer(config, "Dense")["config"]["name"] = "other"
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(WeightsError, match=r"but its configuration has .*'other'"):
        from_keras(path)


def test_the_number_of_classes_must_match_the_configuration(tmp_path: Path) -> None:
    config = keras_config()
    find_layer(config, "Dense", 1)["config"]["units"] = 4
    with pytest.raises(WeightsError, match="for 3 classes, but the configuration has 4"):
        from_keras(write_keras(tmp_path / "x.keras", cnn_arrays(), config))


# JSON


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'\xef\xbb\xbf{"a": 1}', "not JSON"),
        ('{"a": 1}'.encode("utf-16"), "not JSON in UTF-8"),
        (b'{"a": "\xff"}', "not JSON in UTF-8"),
        (b'{"a": NaN}', "the number NaN"),
        (b"[-Infinity]", "the number -Infinity"),
        (b'{"a": 1, "b": 2, "a": 3}', "gives 'a' twice"),
        (b"1" * 5_000, "not JSON"),
        (b"[" * 100 + b"]" * 100, "nested too deep"),
        (b"[" * 200_000, "nested too deep|not JSON"),
        (b'{"a":' * 40_000, "nested too deep|not JSON"),
        (b" " * (MAX_JSON_BYTES + 1), "more than 262,144 are not read"),
    ],
)
def test_ambiguous_or_invalid_json_is_refused(content: bytes, message: str) -> None:
    with pytest.raises(WeightsError, match=f"^it .*(?:{message})"):
        parse(content, "it")


def test_valid_json_is_parsed() -> None:
    assert parse('{"a": [1, 0.5, null, "é"]}'.encode(), "it") == {"a": [1, 0.5, None, "é"]}
