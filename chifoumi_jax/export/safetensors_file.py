"""Export of a classifier to a safetensors file, which is read back and compared."""

from pathlib import Path

from chifoumi_jax.export import verify
from chifoumi_jax.export.inputs import Inputs
from chifoumi_jax.export.verify import Check, ExportResult
from chifoumi_jax.prediction.classifier import Classifier
from chifoumi_jax.prediction.model_file import arrays, load_safetensors, write


def write_and_compare(
    classifier: Classifier, photos: Inputs, path: Path, name: str
) -> ExportResult:
    """Write the classifier, read it back, and compare weights and probabilities.

    Raises:
        ExportError: If the file holds another classifier.
    """
    write(classifier, path)
    loaded = load_safetensors(path)
    expected = arrays(classifier)
    differences = [
        verify.max_difference(array, expected[name]) for name, array in arrays(loaded).items()
    ]
    checks = [Check(f"{len(expected)} arrays of weights", max(differences), 0.0)]
    verify.require_within_bounds(checks)
    reference = verify.reference(classifier, photos.compared)
    checks += verify.compare_classifiers(loaded, reference, photos.compared)
    return ExportResult(checks, {name: verify.classifier_timer(loaded, photos.compared[:1])})
