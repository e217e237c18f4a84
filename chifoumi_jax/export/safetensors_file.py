"""A run's whole classifier as a safetensors file, read back and compared."""

from pathlib import Path

from chifoumi_jax.export import verify
from chifoumi_jax.export.inputs import Inputs
from chifoumi_jax.export.verify import Check, Made
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.prediction.model_file import arrays, load_safetensors, write


def make(classifier: Classifier, photos: Inputs, path: Path, name: str) -> Made:
    """Write the classifier, read it back, and compare weights and probabilities.

    Raises:
        ExportError: If it is not the same one.
    """
    write(classifier, path)
    loaded = load_safetensors(path)
    wanted = arrays(classifier)
    apart = [verify.distance(array, wanted[name]) for name, array in arrays(loaded).items()]
    checks = [Check(f"{len(wanted)} arrays of weights", max(apart), 0.0)]
    verify.require(checks)
    reference = verify.reference(classifier, photos.compared)
    checks += verify.compare_classifiers(loaded, reference, photos.compared)
    return Made(checks, {name: verify.timed_classifier(loaded, photos.compared[:1])})
