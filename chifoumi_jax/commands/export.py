"""`chifoumi export`: write a run's model for another runtime."""

from __future__ import annotations

import json
from pathlib import Path

from chifoumi_jax.commands.options import JsonOutput, Run
from chifoumi_jax.commands.output import print_table
from chifoumi_jax.export.formats import Format


def export(
    run: Run,
    to: Format,
    out: Path | None = None,
    data: Path | None = None,
    best: bool = False,
    preprocess: bool = False,
    int8: bool = False,
    force: bool = False,
    json_output: JsonOutput = False,
) -> int:
    """Write a run's model for another runtime.

    The written file is loaded in that runtime and compared with the model on photos. The file is
    kept only if it computes the same. The last printed line is its name.

    Args:
        run: The run's folder, a file of --to safetensors, or small, the packaged model.
        to: onnx; stablehlo, which JAX loads; safetensors, which chifoumi loads in place of a run's
            folder; keras; or torch, for torch.export.load.
        out: The file; by default model.onnx (.stablehlo, .safetensors, .keras, .pt2) in the run's
            folder.
        data: Folder of photos for the comparison; by default the run's own photos, or rendered
            hands.
        best: Use the best checkpoint instead of the last.
        preprocess: ONNX only: accept pictures of any size; the graph resizes them.
        int8: ONNX only: 8-bit weights and activations; their ranges come from training photos.
        force: Replace the file if it exists.
        json_output: Print JSON.
    """
    from chifoumi_jax.export import export as export_model
    from chifoumi_jax.training.display import Display

    with Display().counting("Reading photos") as progress:
        report = export_model(
            run,
            to,
            out,
            data=data,
            best=best,
            preprocess=preprocess,
            int8=int8,
            force=force,
            progress=progress,
        )
    if json_output:
        print(json.dumps(report.as_json(), indent=2))
        return 0
    print(f"Compared on {report.compared_on}:")
    print_table(
        ["largest difference", "measured", "bound"],
        [[check.name, f"{check.difference:.2g}", f"{check.bound:.2g}"] for check in report.checks],
    )
    print_table(
        ["", "size", "one photo", *(["accuracy"] if report.accuracies else [])],
        [row if report.accuracies else row[:-1] for row in report.rows()],
    )
    print(report.path)
    return 0
