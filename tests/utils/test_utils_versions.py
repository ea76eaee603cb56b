"""show_versions: what it prints is what is installed."""

import importlib.metadata
import re
import sys
from pathlib import Path

import torch
from threadpoolctl import threadpool_info

import skot


def test_show_versions(capsys):
    skot.show_versions()
    printed = capsys.readouterr().out
    facts = dict(re.findall(r"^    (\S+(?: \S+)*)  +(.+)$", printed, re.M))
    assert facts["skot"] == skot.__version__
    assert facts["torch"] == importlib.metadata.version("torch")
    assert facts["scikit-learn"] == importlib.metadata.version("scikit-learn")
    assert facts["executable"] == sys.executable
    assert facts["torch threads"] == str(torch.get_num_threads())
    assert ("not available" in facts["CUDA"]) != torch.cuda.is_available()


def test_every_library_is_named(capsys):
    skot.show_versions()
    printed = capsys.readouterr().out
    files = [Path(library["filepath"]).name for library in threadpool_info()]
    assert files
    assert [name for name in files if name not in printed] == []


def test_missing_packages_are_named(capsys, monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    skot.show_versions()
    assert re.search(r"matplotlib +not installed", capsys.readouterr().out)


def test_cuda_devices_are_named(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda i: f"card {i}")
    monkeypatch.setattr(torch.version, "cuda", "99.1")
    skot.show_versions()
    assert re.search(r"CUDA +99\.1: card 0, card 1", capsys.readouterr().out)
