"""Train both encoders together.

A loop of its own beside `embcomp.training.loop`: a step draws a caption for every clip and moves two encoders, and
there is neither a score to validate by nor a transfer method. The rate's cosine runs from the first step on and not
from the end of the warm-up, which is how the recipe's tables were measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import numpy as np
import torch

from embcomp.audio.augment import augment
from embcomp.config import AudioConfig, TrainingConfig
from embcomp.errors import ConfigError, DataError
from embcomp.knowledge_clip.captions import Captions
from embcomp.knowledge_clip.model import KnowledgeClip
from embcomp.knowledge_clip.objective import KnowledgeClipConfig, Objective
from embcomp.students import DSCNN, StudentSettings
from embcomp.training.examples import Examples, sampling_weights
from embcomp.training.steps import Descent


@dataclass
class Trained:
    """What came out of `train`.

    Attributes
    ----------
    model : KnowledgeClip
    objective : Objective
        With what it learned, and the concept of every caption.
    history : list of dict
        Every ``evaluate_every`` steps: step, mean of each term since the last row, temperature.
    """

    model: KnowledgeClip
    objective: Objective
    history: list[dict[str, float]] = field(default_factory=list)


def train(
    examples: Examples,
    captions: Captions,
    vectors: np.ndarray,
    *,
    audio: AudioConfig,
    student: StudentSettings | None = None,
    config: KnowledgeClipConfig | None = None,
    training: TrainingConfig | None = None,
    text: dict[str, int] | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Callable[[int], None] | None = None,
) -> Trained:
    """Train an audio and a text encoder on captioned clips.

    Each step draws clips, and one caption of each. The last weights are kept: no clip is set aside to choose
    a step by, so ``patience``, ``monitor`` and ``checkpoint_every`` have no part here.

    Parameters
    ----------
    examples : Examples
        Labels only decide how often a clip is drawn.
    captions : Captions
        Of the same clips.
    vectors : ndarray of shape (m, dim)
        Of the text teacher, for ``captions.texts``; see `caption_vectors`.
    audio : AudioConfig
        How the features were made; kept with the model.
    student : StudentSettings, optional
        The audio encoder. Its embedding is the shared space.
    text : dict, optional
        Sizes of the `TextEncoder`, its width aside.
    seed : int, default=0
        Decides everything random.
    progress : callable, optional
        Called with 1 after each step.

    Returns
    -------
    Trained

    Raises
    ------
    DataError
        Clips, captions and vectors do not fit together, or the loss is not finite.
    ConfigError
        A setting is out of range, or asks for what this loop does not do.
    """
    student, config, training = (
        student or DSCNN.Settings(),
        config or KnowledgeClipConfig(),
        training or TrainingConfig(),
    )
    if len(captions) != len(examples.labels) or len(vectors) != len(captions.texts):
        raise DataError(
            f"{len(examples.labels)} clips with captions for {len(captions)}, and {len(captions.texts)} different "
            f"captions with {len(vectors)} vectors, do not fit together"
        )
    for name in ("mixup", "amp", "views"):
        if getattr(training, name):
            raise ConfigError(f"training.{name} has no part in Knowledge-CLIP; leave it off")
    # Initial weights and dropout come from torch's global generator; the caller's is left as it was.
    with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if device.startswith("cuda") else []):
        model = KnowledgeClip.new(audio, student, seed, text)
        torch.manual_seed(seed)
        objective = Objective(config, vectors, model.audio_encoder.embedding_width, seed).to(device)
        trained = Trained(model, objective)
        _loop(trained, examples.to(device), captions, training, seed, device, progress)
    model.temperature = float(objective.temperature.detach())
    model.about = {"seed": seed, **asdict(config)}
    for part in (model.audio_encoder, model.text_encoder, objective):
        part.cpu().eval()
    return trained


def _loop(
    trained: Trained,
    examples: Examples,
    captions: Captions,
    training: TrainingConfig,
    seed: int,
    device: str,
    progress: Callable[[int], None] | None,
) -> None:
    objective, network = trained.objective, trained.model.audio_encoder.to(device).train()
    encoder = trained.model.text_encoder.to(device).train()
    network.norm.fit(examples.features, examples.lengths)
    generator = torch.Generator().manual_seed(seed)
    weights = sampling_weights(examples.labels, training.balanced)
    matches = torch.from_numpy(captions.matches).to(device)
    parameters = [*network.parameters(), *encoder.parameters(), *objective.lift.parameters()]
    # Decay would pull the temperature towards 1.
    groups = [{"params": parameters}, {"params": [objective.sharpness], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=training.learning_rate, weight_decay=training.weight_decay)
    warmup = max(1, round(training.warmup * training.steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1.0, (step + 1) / warmup) * (1 + math.cos(math.pi * step / training.steps)) / 2
    )
    descent = Descent(optimiser)
    for step in range(1, training.steps + 1):
        rows, lengths, features = examples.draw(weights, training.batch_size, generator)
        drawn = captions.draw(rows.cpu(), generator).to(device)
        features = augment(features, lengths, training, generator)
        different, place = drawn.unique(return_inverse=True)
        text = encoder([captions.texts[number] for number in different.tolist()])[place]
        terms = objective(network(features, lengths).embedding, text, drawn, matches[rows])
        descent.step(terms, step - 1)
        schedule.step()
        objective.limit()
        if step % training.evaluate_every == 0 or step == training.steps:
            temperature = float(objective.temperature.detach())
            trained.history.append({"step": step, **descent.means(), "temperature": temperature})
        if progress is not None:
            progress(1)
