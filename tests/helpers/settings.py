"""Settings of transfer methods, teachers and students by keywords, as a configuration's flat keys."""

from __future__ import annotations

from embcomp.config import read_choice


def transfer_settings(**keys):
    return read_choice("transfer", keys)


def teacher_settings(**keys):
    return read_choice("teacher", keys)


def student_settings(**keys):
    return read_choice("student", keys)
