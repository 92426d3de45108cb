"""The commands ``train`` and ``evaluate``."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import shutil
import subprocess
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from voiceguard.detector import LIGHT_MODEL
from voiceguard.evidence.cue_ranges import RANGES_FILE
from voiceguard.features import FeatureSet, features_sha256
from voiceguard.training.calibrate import fit_calibration
from voiceguard.training.card import write_card
from voiceguard.training.corpus import Corpus, clip_weights, load_corpus
from voiceguard.training.crossfold import (
    CHANNELS,
    CrossFold,
    Member,
    cross_fold,
    ensembles,
    features_mean,
    load_versions,
)
from voiceguard.training.export import export_ensemble, write_model, write_reference
from voiceguard.training.mlp import Mlp, MlpConfig, fit_mlp, load_mlp, save_mlp
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
Members = Annotated[
    int, typer.Option(help="Networks on each set of features; twice as many on the light one.", min=1)
]
Epochs = Annotated[int, typer.Option(help="Passes over the clips.", min=1)]
Seed = Annotated[int, typer.Option(help="Fixes channels, weights and order.")]
Jobs = Annotated[int, typer.Option(help="Processes that prepare clips; threads that train.", min=1)]


def train(
    manifest: Manifest,
    work: Work,
    out: Annotated[Path, typer.Option(help="Where the model goes; the light one into light/ there.")] = Path(
        "models"
    ),
    versions: Versions = 9,
    members: Members = 2,
    epochs: Epochs = 14,
    seed: Seed = 0,
    jobs: Jobs = 2,
) -> None:
    """Train on all folds with the recipe that the cross-fold scores judge; write the models, their cards and reports.

    Every step is kept in the work folder, so the same command goes on after a stop.
    """
    corpus, results, config = _cross_fold(manifest, work, versions, members, epochs, seed, jobs)
    features = load_versions(work, list(range(versions)))
    synthetic, weights = corpus.column("synthetic"), clip_weights(corpus)
    human = features_mean(features, ~synthetic)
    detectors = ensembles(members, seed)
    # Before anything is written: the models may lie in the checkout.
    revision = _revision()
    fitted: dict[Member, Mlp] = {}
    for member in dict.fromkeys(itertools.chain(*detectors.values())):
        key = _key(corpus, member.features, versions, config)
        kept = work / f"member-{key}-{member.features}-{member.seed}.pt"
        fitted[member] = _fit_or_load(kept, features, synthetic, weights, config, member)
    for kind, chosen in detectors.items():
        folder = out / LIGHT_MODEL if kind == "light" else out
        result = results[kind]
        calibration = fit_calibration(corpus, result)
        graph = export_ensemble([fitted[member] for member in chosen])
        model_id = f"functional-mlp-{kind}-{hashlib.sha256(graph).hexdigest()[:12]}"
        write_model(folder, model_id, graph, calibration, kind)
        write_reference(folder, corpus, result, calibration, human, kind)
        report = make_report(corpus, result, work)
        (folder / "evaluation.json").write_text(report.to_json() + "\n")
        recipe = {
            "corpus_sha256": corpus.sha256,
            "clips": len(corpus.clips),
            "git_revision": revision,
            "versions": versions,
            "members": [dataclasses.asdict(member) for member in chosen],
            "network": dataclasses.asdict(config),
        }
        (folder / "recipe.json").write_text(json.dumps(recipe, indent=2) + "\n")
        write_card(folder, model_id, kind, calibration, report, recipe)
        write_sample(folder, corpus)
        if folder != out and (out / RANGES_FILE).exists():
            # Ranges of acoustic cues are of speech, not of a detector.
            shutil.copy(out / RANGES_FILE, folder)
        typer.echo(f"{model_id}\n\n{report.to_markdown()}")


def evaluate(
    manifest: Manifest,
    work: Work,
    versions: Versions = 9,
    members: Members = 2,
    epochs: Epochs = 14,
    seed: Seed = 0,
    jobs: Jobs = 2,
    detector: Annotated[FeatureSet, typer.Option(help="Which of the two detectors.")] = "full",
    plots: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Save the figures as a picture.")
    ] = None,
) -> None:
    """Print the cross-fold report: each fold scored by models that heard none of its groups or engine names."""
    corpus, results, _ = _cross_fold(manifest, work, versions, members, epochs, seed, jobs)
    result = results[detector]
    typer.echo(make_report(corpus, result, work).to_markdown())
    if plots is not None:
        draw_report(corpus, result, plots)


def probe(
    manifest: Manifest,
    work: Work,
    versions: Versions = 9,
    members: Members = 2,
    epochs: Epochs = 14,
    seed: Seed = 0,
    jobs: Jobs = 2,
) -> None:
    """Print what trivial cues and recordings in two folds explain, and how far a score depends on the channel."""
    corpus, results, config = _cross_fold(manifest, work, versions, members, epochs, seed, jobs)
    result = results["full"]
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
    spread = probe_spread(corpus, work, list(range(versions)), config, ensembles(members, seed)["full"], seed)
    typer.echo(
        f"{spread.clips} clips through {spread.channels} channels each, spread of a clip's score, "
        "in nats and over that of clips:"
    )
    for name, one in (
        ("this recipe", spread.shipped_recipe),
        ("the same networks, trained on clean clips", spread.clean_trained),
    ):
        typer.echo(f"  {name:41} {one.nats:.2f}  {one.of_clips:.2f}")


def _cross_fold(
    manifest: Path, work: Path, versions: int, members: int, epochs: int, seed: int, jobs: int
) -> tuple[Corpus, dict[FeatureSet, CrossFold], MlpConfig]:
    torch.set_num_threads(jobs)
    corpus = load_corpus(manifest)
    config = MlpConfig(epochs=epochs)
    prepare(corpus, work, list(range(versions)), seed=seed, jobs=jobs)
    detectors = ensembles(members, seed)
    paths = {
        kind: work / f"crossfold-{_key(corpus, kind, versions, config, seed, members)}-{kind}.npz"
        for kind in detectors
    }
    missing = {kind: detectors[kind] for kind, path in paths.items() if not path.exists()}
    if missing:
        for kind, found in cross_fold(corpus, work, list(range(versions)), config, missing).items():
            found.save(paths[kind])
    return corpus, {kind: CrossFold.load(path) for kind, path in paths.items()}, config


def _key(corpus: Corpus, features: FeatureSet, versions: int, config: MlpConfig, *more: int) -> str:
    recipe = [corpus.sha256, features_sha256(features), versions, dataclasses.asdict(config), *more]
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:12]


def _fit_or_load(
    kept: Path,
    features: list[np.ndarray],
    synthetic: np.ndarray,
    weights: np.ndarray,
    config: MlpConfig,
    member: Member,
) -> Mlp:
    """Train a network on all clips, unless an earlier run did."""
    if kept.exists():
        return load_mlp(kept, config)
    model = fit_mlp(features, synthetic, weights, config, member.seed, member.columns)
    save_mlp(model, kept)
    return model


def _revision() -> str:
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or "unknown"
