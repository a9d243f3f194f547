"""Knowledge-CLIP on sound: an audio and a text encoder that share a space, and a frozen text teacher.

Kao 2024, "Enhancing CLIP Conceptual Embedding through Knowledge Distillation" (arXiv 2412.03513). There:
images, CLIP's encoders, Llama-2. Here: a small student on log-mels, a small text encoder, and a teacher of texts
of the user's choice.
"""

from embcomp.knowledge_clip.captions import TEMPLATES, Captions, default_prompts, read_captions, read_prompts
from embcomp.knowledge_clip.model import KnowledgeClip
from embcomp.knowledge_clip.objective import KnowledgeClipConfig, Objective
from embcomp.knowledge_clip.scores import concept_accuracy, retrieval
from embcomp.knowledge_clip.text_teacher import caption_vectors
from embcomp.knowledge_clip.training import train

__all__ = [
    "TEMPLATES",
    "Captions",
    "KnowledgeClip",
    "KnowledgeClipConfig",
    "Objective",
    "caption_vectors",
    "concept_accuracy",
    "default_prompts",
    "read_captions",
    "read_prompts",
    "retrieval",
    "train",
]
