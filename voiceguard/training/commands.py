"""The commands ``train`` and ``evaluate``."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from voiceguard.features import features_sha256
from voiceguard.training.calibrate import fit_calibration
from voiceguard.training.card import write_card
from voiceguard.training.corpus import Corpus, clip_weights, load_corpus
from voiceguard.training.crossfold import CHANNELS, CrossFold, cross_fold, features_mean, load_versions
from voiceguard.training.export import export_ensemble, write_model, write_reference
from voiceguard.training.mlp import MlpConfig, fit_mlp
from voiceguard.training.plots import draw_report
from voiceguard.training.prepare import prepare
from voiceguard.training.probe import probe_spread, probe_trivial_cues
from voiceguard.training.report import make_report
from voiceguard.training.sample import write_sample
from voiceguard.training.twins import find_twins, twin_figures

Manifest = Annotated[Path, typer.Argument(help="manifest.csv of the corpus.", exists=True, dir_okay=False)]
Work = Annotated[
    Path, typer.Option(help="Folder for degraded versions, features and fold scores; gigabytes.")
]
Versions = Annotated[int, typer.Option(help="Channel versions of each clip.", min=len(CHANNELS))]
Members = Annotated[int, typer.Option(help="Networks in the ensemble.", min=1)]
Epochs = Annotated[int, typer.Option(help="Passes over the clips.", min=1)]
Seed = Annotated[int, typer.Option(help="Fixes channels, weights and order.")]
Jobs = Annotated[int, typer.Option(help="Processes that prepare clips; threads that train.", min=1)]


def train(
    manifest: Manifest,
    work: Work,
    out: Annotated[Path, typer.Option(help="Where the model goes.")] = Path("models"),
    versions: Versions = 6,
    members: Members = 2,
    epochs: Epochs = 14,
    seed: Seed = 0,
    jobs: Jobs = 2,
) -> None:
    """Train on all folds with the recipe that the cross-fold scores judge; write the model, its card and report.

    Every step is kept in the work folder, so the same command goes on after a stop.
    """
    corpus, result, config = _cross_fold(manifest, work, versions, members, epochs, seed, jobs)
    calibration = fit_calibration(corpus, result)
    features = load_versions(work, list(range(versions)))
    synthetic, weights = corpus.column("synthetic"), clip_weights(corpus)
    models = [fit_mlp(features, synthetic, weights, config, seed + member) for member in range(members)]
    graph = export_ensemble(models)
    model_id = f"functional-mlp-{hashlib.sha256(graph).hexdigest()[:12]}"
    write_model(out, model_id, graph, calibration)
    write_reference(out, corpus, result, calibration, features_mean(features, ~synthetic))
    report = make_report(corpus, result, work)
    (out / "evaluation.json").write_text(report.to_json() + "\n")
    recipe = {
        "corpus_sha256": corpus.sha256,
        "clips": len(corpus.clips),
        "git_revision": _revision(),
        "versions": versions,
        "members": members,
        "seed": seed,
        "network": dataclasses.asdict(config),
    }
    (out / "recipe.json").write_text(json.dumps(recipe, indent=2) + "\n")
    write_card(out, model_id, calibration, report, recipe)
    write_sample(out, corpus)
    typer.echo(report.to_markdown())


def evaluate(
    manifest: Manifest,
    work: Work,
    versions: Versions = 6,
    members: Members = 2,
    epochs: Epochs = 14,
    seed: Seed = 0,
    jobs: Jobs = 2,
    plots: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Save the figures as a picture.")
    ] = None,
) -> None:
    """Print the cross-fold report: each fold scored by models that heard none of its groups or engine names."""
    corpus, result, _ = _cross_fold(manifest, work, versions, members, epochs, seed, jobs)
    typer.echo(make_report(corpus, result, work).to_markdown())
    if plots is not None:
        draw_report(corpus, result, plots)


def probe(
    manifest: Manifest,
    work: Work,
    versions: Versions = 6,
    members: Members = 2,
    epochs: Epochs = 14,
    seed: Seed = 0,
    jobs: Jobs = 2,
) -> None:
    """Print what trivial cues and recordings in two folds explain, and how far a score depends on the channel."""
    corpus, result, config = _cross_fold(manifest, work, versions, members, epochs, seed, jobs)
    cues = probe_trivial_cues(corpus, result, work)
    typer.echo("Wild pages, plain phone, area under the curve within pages:")
    typer.echo(f"  detector                                 {cues.detector:.3f}")
    typer.echo(f"  classifier on trivial cues alone         {cues.cues:.3f}")
    typer.echo(f"  detector without what the cues predict   {cues.without_cues:.3f}")
    twins = twin_figures(corpus, result, find_twins(corpus))
    typer.echo(
        f"{twins.human} human and {twins.synthetic} synthetic clips have a twin of their label in training:"
    )
    typer.echo(f"  all clips          EER {twins.eer:.1%}, within pages {twins.within:.3f}")
    typer.echo(f"  those without one  EER {twins.eer_without:.1%}, within pages {twins.within_without:.3f}")
    spread = probe_spread(corpus, work, list(range(versions)), config, seed)
    typer.echo(
        f"{spread.clips} clips through {spread.channels} channels each, spread of a clip's score over that of clips:"
    )
    typer.echo(f"  this recipe                              {spread.shipped_recipe:.2f}")
    typer.echo(f"  the same networks, trained on clean clips {spread.clean_trained:.2f}")


def _cross_fold(
    manifest: Path, work: Path, versions: int, members: int, epochs: int, seed: int, jobs: int
) -> tuple[Corpus, CrossFold, MlpConfig]:
    torch.set_num_threads(jobs)
    corpus = load_corpus(manifest)
    config = MlpConfig(epochs=epochs)
    prepare(corpus, work, list(range(versions)), seed=seed, jobs=jobs)
    columns = features_sha256()
    recipe = [corpus.sha256, columns, versions, members, seed, dataclasses.asdict(config)]
    key = hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]
    kept = work / f"crossfold-{key}.npz"
    if kept.exists():
        stored = np.load(kept)
        scores = {name: stored[f"score_{name}"] for name in CHANNELS}
        speech_s = {name: stored[f"speech_{name}"] for name in CHANNELS}
        return corpus, CrossFold(scores, speech_s, stored["weights"]), config
    result = cross_fold(corpus, work, list(range(versions)), config, members, seed)
    arrays = {f"score_{name}": values for name, values in result.scores.items()}
    arrays |= {f"speech_{name}": values for name, values in result.speech_s.items()}
    assert result.weights is not None
    arrays["weights"] = result.weights
    partial = kept.with_suffix(".part.npz")
    np.savez(partial, **arrays)  # type: ignore[arg-type]
    partial.rename(kept)
    return corpus, result, config


def _revision() -> str:
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "unknown"
