"""Trainings of a few updates, most of them without METEOR."""

import shutil

import pytest


@pytest.fixture(autouse=True)
def _without_java(monkeypatch):
    """Its start costs 9 s of processor time a run; fixtures of modules come before this one."""
    which = shutil.which

    def find(command, *arguments, **named):
        return None if command == "java" else which(command, *arguments, **named)

    monkeypatch.setattr(shutil, "which", find)
