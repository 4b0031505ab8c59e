from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hmtools.core.errors import UsageError
from hmtools.viz.mesh import Camera, Mesh
from hmtools.viz.pyrender_view import render_pretty
from hmtools.viz.shade import render
from tests.viz.meshes import sphere

CAMERA = Camera(focal_length=200, principal_point=(79.5, 59.5), width=160, height=120)


def ball() -> Mesh:
    vertices, faces = sphere(24, 32)
    return Mesh(vertices=0.5 * vertices + np.array([0.2, -0.1, 3]), faces=faces)


def test_importing_the_renderers_opens_nothing() -> None:
    code = (
        "import sys, os, hmtools.viz.pyrender_view, hmtools.viz.mesh_overlay\n"
        "loaded = [m for m in ('OpenGL', 'pyrender', 'torch', 'pyglet') if m in sys.modules]\n"
        "sys.exit(str(loaded or '') + os.environ.get('PYOPENGL_PLATFORM', ''))"
    )
    clean = {name: value for name, value in os.environ.items() if name != "PYOPENGL_PLATFORM"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == ""


def test_without_pyrender_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYOPENGL_PLATFORM", "egl")
    monkeypatch.setitem(sys.modules, "pyrender", None)
    with pytest.raises(UsageError, match=r"pip install 'hmtools\[pyrender\]'"):
        render_pretty([ball()], CAMERA)


@pytest.mark.parametrize(
    ("given", "opengl", "expected"), [(None, False, "egl"), ("osmesa", False, "osmesa"), (None, True, None)]
)
def test_the_platform_is_chosen_only_when_nobody_has(
    monkeypatch: pytest.MonkeyPatch, given: str | None, opengl: bool, expected: str | None
) -> None:
    monkeypatch.setenv("PYOPENGL_PLATFORM", "")  # so that it is put back in the end
    monkeypatch.delenv("PYOPENGL_PLATFORM")
    if given is not None:
        monkeypatch.setenv("PYOPENGL_PLATFORM", given)
    for name in [n for n in sys.modules if n.partition(".")[0] == "OpenGL"]:
        monkeypatch.delitem(sys.modules, name)
    if opengl:
        monkeypatch.setitem(sys.modules, "OpenGL", types.ModuleType("OpenGL"))
    monkeypatch.setitem(sys.modules, "pyrender", None)
    with pytest.raises(UsageError):
        render_pretty([ball()], CAMERA)
    assert os.environ.get("PYOPENGL_PLATFORM") == expected


def test_a_machine_without_graphics_library_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: Any) -> Any:
        raise OSError("EGL: cannot open")

    monkeypatch.setenv("PYOPENGL_PLATFORM", "egl")
    fake: Any = types.ModuleType("pyrender")
    fake.OffscreenRenderer = refuse
    monkeypatch.setitem(sys.modules, "pyrender", fake)
    with pytest.raises(UsageError, match=r"EGL: cannot open.*PYOPENGL_PLATFORM is egl.*libosmesa6"):
        render_pretty([ball()], CAMERA)
    monkeypatch.delitem(sys.modules, "pyrender")
    (tmp_path / "pyrender.py").write_text("raise AttributeError('no eglGetError')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=r"no graphics library.*no eglGetError"):
        render_pretty([ball()], CAMERA)


@pytest.mark.parametrize(
    "more", [{"model": "opencv5", "distortion": [0.1, 0, 0, 0, 0]}, {"affine": np.eye(2, 3)}]
)
def test_lenses_and_crops_are_refused(more: dict[str, Any]) -> None:
    camera = Camera(focal_length=200, principal_point=(80, 60), width=160, height=120, **more)
    with pytest.raises(UsageError, match="pinhole cameras without an affine"):
        render_pretty([ball()], camera)


@pytest.mark.skipif(
    importlib.util.find_spec("pyrender") is None, reason="the extra pyrender is not installed"
)
@pytest.mark.filterwarnings("ignore")
def test_it_draws_where_our_own_renderer_does() -> None:
    drawn, own = render_pretty([ball()], CAMERA), render([ball()], CAMERA, supersampling=2)
    assert drawn.shape == (120, 160, 4)
    assert np.abs(drawn[..., 3] / 255 - own.coverage).mean() < 0.003
    shifted = np.roll(own.coverage, 1, axis=1)
    assert (
        np.abs(drawn[..., 3] / 255 - own.coverage).mean() < 0.2 * np.abs(drawn[..., 3] / 255 - shifted).mean()
    )
