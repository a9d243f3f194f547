"""Frozen models that turn clips into embeddings: one file each, and the tuple of them."""

from __future__ import annotations

from embcomp.teachers.base import Teacher, TeacherSettings
from embcomp.teachers.embedding import embed, embedder, learned_teacher, open_teacher
from embcomp.teachers.kmeans import KMeansTeacher
from embcomp.teachers.stored import StoredTeacher

TEACHERS: tuple[type[Teacher], ...] = (KMeansTeacher, StoredTeacher)

__all__ = [
    "TEACHERS",
    "KMeansTeacher",
    "StoredTeacher",
    "Teacher",
    "TeacherSettings",
    "embed",
    "embedder",
    "learned_teacher",
    "open_teacher",
]
