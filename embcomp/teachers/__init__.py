"""Frozen models that turn clips into embeddings: one file each, and the tuple of them."""

from __future__ import annotations

from embcomp.teachers.base import Teacher, TeacherSettings
from embcomp.teachers.embedding import embed, embedder, learned_teacher, open_teacher, require_teacher
from embcomp.teachers.hear import HearTeacher
from embcomp.teachers.hf import HuggingFaceTeacher
from embcomp.teachers.joined import JoinedTeacher
from embcomp.teachers.kmeans import KMeansTeacher
from embcomp.teachers.librosa import LibrosaTeacher
from embcomp.teachers.onnx import OnnxTeacher
from embcomp.teachers.opensmile import OpenSmileTeacher
from embcomp.teachers.python import PythonTeacher
from embcomp.teachers.stored import StoredTeacher
from embcomp.teachers.tflite import TfliteTeacher
from embcomp.teachers.torchaudio import TorchaudioTeacher

TEACHERS: tuple[type[Teacher], ...] = (
    *(KMeansTeacher, StoredTeacher, OnnxTeacher, TfliteTeacher, HuggingFaceTeacher, TorchaudioTeacher),
    *(HearTeacher, PythonTeacher, LibrosaTeacher, OpenSmileTeacher, JoinedTeacher),
)

__all__ = [
    "TEACHERS",
    "HearTeacher",
    "HuggingFaceTeacher",
    "JoinedTeacher",
    "KMeansTeacher",
    "LibrosaTeacher",
    "OnnxTeacher",
    "OpenSmileTeacher",
    "PythonTeacher",
    "StoredTeacher",
    "Teacher",
    "TeacherSettings",
    "TfliteTeacher",
    "TorchaudioTeacher",
    "embed",
    "embedder",
    "learned_teacher",
    "open_teacher",
    "require_teacher",
]
