"""Frozen models that turn clips into embeddings: one file each, and the tuple of them."""

from __future__ import annotations

from embcomp.teachers.base import Teacher, TeacherSettings
from embcomp.teachers.embedding import embed, embedder, learned_teacher, open_teacher
from embcomp.teachers.kmeans import KMeansTeacher
from embcomp.teachers.onnx import OnnxTeacher
from embcomp.teachers.stored import StoredTeacher
from embcomp.teachers.tflite import TfliteTeacher

TEACHERS: tuple[type[Teacher], ...] = (KMeansTeacher, StoredTeacher, OnnxTeacher, TfliteTeacher)

__all__ = [
    "TEACHERS",
    "KMeansTeacher",
    "OnnxTeacher",
    "StoredTeacher",
    "Teacher",
    "TeacherSettings",
    "TfliteTeacher",
    "embed",
    "embedder",
    "learned_teacher",
    "open_teacher",
]
