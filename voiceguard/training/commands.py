"""The commands ``train`` and ``evaluate``."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import subprocess
from dataclasses import dataclass
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
    Recipe,
    cross_fold,
    cross_fold_network,
    features_mean,
    fuse,
    load_versions,
    mean_of_humans,
    network_path,
    recipes,
)
from voiceguard.training.export import export_ensemble, export_network, write_model, write_reference
from voiceguard.training.kept import recipe_key, save_arrays
from voiceguard.training.mlp import Mlp, MlpConfig, fit_mlp, load_mlp, save_mlp
from voiceguard.training.network import NetworkConfig, load_network, read_curve
from voiceguard.training.plots import draw_report
from voiceguard.training.prepare import prepare
from voiceguard.training.probe import probe_spread, probe_trivial_cues
from voiceguard.training.report import make_report
from voiceguard.training.sample import write_sample
from voiceguard.training.twins import find_twins, twin_figures
from voiceguard.training.voices import voice_figures

Manifest = Annotated[Path, typer.Argument(help="manifest.csv of the corpus.", exists=True, dir_okay=False)]
Work = Annotated[
    Path, typer.Option(help="Folder for degraded versions, features and fold scores; gigabytes.")
]
Versions = Annotated[int, typer.Option(help="Channel versions of each clip.", min=len(CHANNELS))]
Members = Annotated[
    int,
    typer.Option(help="Perceptrons on each set of features.", min=1),
]
Epochs = Annotated[int, typer.Option(help="Passes over the clips.", min=1)]
Steps = Annotated[int, typer.Option(help="Steps that the network on the spectrogram is trained.", min=1)]
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
    epochs: Epochs = MlpConfig.epochs,
    steps: Steps = NetworkConfig.steps,
    seed: Seed = 0,
    jobs: Jobs = 2,
) -> None:
    """Train on all folds with the recipe that the cross-fold scores judge; write the models, their cards and reports.

    Every step is kept in the work folder, so the same command goes on after a stop.
    """
    found = _cross_fold(manifest, work, versions, members, epochs, steps, seed, jobs)
    corpus, every = found.corpus, list(range(versions))
    features = load_versions(work, every)
    synthetic, weights = corpus.column("synthetic"), clip_weights(corpus)
    human = features_mean(features, ~synthetic)
    # Before anything is written: the models may lie in the checkout.
    revision = _revision()
    kept = network_path(corpus, work, every, found.network, seed, None)
    heard = export_network(load_network(kept, found.network))
    for kind, made in found.recipes.items():
        fitted = []
        for member in made.members:
            key = _key(corpus, member.features, versions, made.perceptron)
            path = work / f"member-{key}-{member.features}-{member.seed}.pt"
            fitted.append(_fit_or_load(path, features, synthetic, weights, made.perceptron, member))
        folder = out / LIGHT_MODEL if kind == "light" else out
        result = found.results[kind]
        calibration = fit_calibration(corpus, result)
        graph = export_ensemble(fitted)
        added = made.hearing.weight * mean_of_humans(corpus, found.logits[kind]["plain"])
        digest = hashlib.sha256(graph + heard).hexdigest()[:12]
        model_id = f"voiceguard-{kind}-{digest}"
        write_model(folder, model_id, graph, calibration, kind, (heard, made.hearing))
        write_reference(folder, corpus, result, calibration, human, kind, added)
        report = make_report(corpus, result, work)
        (folder / "evaluation.json").write_text(report.to_json() + "\n")
        recipe = {
            "corpus_sha256": corpus.sha256,
            "clips": len(corpus.clips),
            "git_revision": revision,
            "versions": versions,
            "members": [dataclasses.asdict(member) for member in made.members],
            "perceptron": dataclasses.asdict(made.perceptron),
            "network": dataclasses.asdict(found.network)
            | dataclasses.asdict(made.hearing)
            | {"seed": seed, "curve": read_curve(kept)},
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
    epochs: Epochs = MlpConfig.epochs,
    steps: Steps = NetworkConfig.steps,
    seed: Seed = 0,
    jobs: Jobs = 2,
    detector: Annotated[FeatureSet, typer.Option(help="Which of the two detectors.")] = "full",
    plots: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Save the figures as a picture.")
    ] = None,
) -> None:
    """Print the cross-fold report: each fold scored by models that heard none of its groups or engine names."""
    found = _cross_fold(manifest, work, versions, members, epochs, steps, seed, jobs)
    result = found.results[detector]
    typer.echo(make_report(found.corpus, result, work).to_markdown())
    if plots is not None:
        draw_report(found.corpus, result, plots)


def probe(
    manifest: Manifest,
    work: Work,
    versions: Versions = 9,
    members: Members = 2,
    epochs: Epochs = MlpConfig.epochs,
    steps: Steps = NetworkConfig.steps,
    seed: Seed = 0,
    jobs: Jobs = 2,
) -> None:
    """Print what trivial cues, twins and voices explain, and how far a score depends on the channel."""
    found = _cross_fold(manifest, work, versions, members, epochs, steps, seed, jobs)
    corpus, result = found.corpus, found.results["full"]
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
    voices = voice_figures(corpus, result)
    typer.echo(
        f"Raw scores of {voices.voices} synthetic voices lie {voices.between:.2f} apart, "
        f"clips {voices.within:.2f} around that of their voice:"
    )
    typer.echo(f"  their clips        EER {voices.eer:.1%}, were all voices alike {voices.eer_if_alike:.1%}")
    every = list(range(versions))
    prepare(corpus, work, ["clean"], seed=seed, jobs=jobs)
    spread = probe_spread(corpus, work, every, found.recipes["full"], found.network, seed)
    typer.echo(
        f"{spread.clips} clips through {spread.channels} channels each, spread of a clip's score over that of "
        "clips, and in nats;\nafter it that of the same recipe trained on clean clips:"
    )
    for name, one, clean in (
        ("the detector", spread.recipe.detector, spread.clean.detector),
        ("its networks on features", spread.recipe.perceptrons, spread.clean.perceptrons),
        ("its network on the spectrogram", spread.recipe.network, spread.clean.network),
    ):
        typer.echo(f"  {name:31} {one.of_clips:.2f}  {one.nats:.2f}  {clean.of_clips:.2f}  {clean.nats:.2f}")


@dataclass(frozen=True)
class _Found:
    """What the cross-fold runs gave, and with which recipe."""

    corpus: Corpus
    results: dict[FeatureSet, CrossFold]
    """Scores of each detector as it ships."""
    logits: dict[FeatureSet, dict[str, np.ndarray]]
    """Of the network on the spectrogram alone, as each detector hears it."""
    recipes: dict[FeatureSet, Recipe]
    network: NetworkConfig


def _cross_fold(
    manifest: Path, work: Path, versions: int, members: int, epochs: int, steps: int, seed: int, jobs: int
) -> _Found:
    torch.set_num_threads(jobs)
    corpus = load_corpus(manifest)
    made, network, every = recipes(members, epochs, seed), NetworkConfig(steps=steps), list(range(versions))
    prepare(corpus, work, every, seed=seed, jobs=jobs)
    results: dict[FeatureSet, CrossFold] = {}
    for kind, recipe in made.items():
        seeds = [member.seed for member in recipe.members]
        path = work / f"crossfold-{_key(corpus, kind, versions, recipe.perceptron, *seeds)}-{kind}.npz"
        if not path.exists():
            cross_fold(corpus, work, every, kind, recipe).save(path)
        results[kind] = CrossFold.load(path)
    path = network_path(corpus, work, every, network, seed, None).with_suffix(".npz")
    if not path.exists():
        shares = {kind: recipe.hearing.share for kind, recipe in made.items()}
        scored = cross_fold_network(corpus, work, every, network, shares, seed, jobs)
        named = {f"{kind}_{name}": scored[kind][name] for kind in scored for name in scored[kind]}
        save_arrays(named, path)
    stored = np.load(path)
    logits = {kind: {name: stored[f"{kind}_{name}"] for name in CHANNELS} for kind in made}
    results = {
        kind: fuse(corpus, result, logits[kind], made[kind].hearing.weight)
        for kind, result in results.items()
    }
    return _Found(corpus, results, logits, made, network)


def _key(corpus: Corpus, features: FeatureSet, versions: int, config: MlpConfig, *more: int) -> str:
    return recipe_key([corpus.sha256, features_sha256(features), versions, dataclasses.asdict(config), *more])


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
