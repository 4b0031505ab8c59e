"""Detection networks: layouts of outputs, the way into the network and back, what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hmtools.core.errors import LayoutError, SchemaError, UsageError
from hmtools.infer.detectors.base import DetectorOptions, open_detector
from hmtools.infer.detectors.onnx import people_boxes
from tests.infer.free_media import frame

Array = np.ndarray[Any, Any]
CENTRED = [320, 320, 100, 200]  # in a 640 x 640 input
CORNERS = [270, 220, 370, 420]


def yolo8() -> dict[str, Array]:
    found = np.zeros((1, 84, 8400))
    found[0, :5, 5] = [*CENTRED, 0.9]
    found[0, :7, 6] = [*CENTRED, 0.1, 0, 0.9]
    return {"output0": found}


def yolo5() -> dict[str, Array]:
    found = np.zeros((1, 25200, 85))
    found[0, 7:9, :6] = [[*CENTRED, 0.9, 1.0], [*CENTRED, 0.9, 0.0]]
    return {"output": found, "stage": np.zeros((1, 3, 80, 80, 85))}


def final() -> dict[str, Array]:
    found = np.zeros((1, 300, 6))
    found[0, :2] = [[*CORNERS, 0.9, 0], [*CORNERS, 0.9, 2]]
    found[0, 2:, 5] = 1
    return {"output0": found}


def mmdeploy() -> dict[str, Array]:
    return {"dets": final()["output0"][..., :5], "labels": final()["output0"][..., 5].astype(np.int64)}


class Runtime:
    """A package whose networks are tables."""

    def __init__(self, outputs: dict[str, Array], shape: Any = (1, 3, 640, 640)) -> None:
        self.outputs, self.shape = outputs, list(shape)
        self.seen: Array = np.zeros(0)

    def get_available_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]

    def InferenceSession(self, path: str, providers: list[str]) -> Any:  # noqa: N802 - its name there
        assert providers == ["CPUExecutionProvider"]
        if Path(path).read_bytes() == b"broken":
            raise RuntimeError("no graph")
        tensor = SimpleNamespace(name="images", shape=self.shape, type="tensor(float)")
        outputs = [SimpleNamespace(name=name) for name in self.outputs]
        return SimpleNamespace(get_inputs=lambda: [tensor], get_outputs=lambda: outputs, run=self.run)

    def run(self, names: None, inputs: dict[str, Array]) -> list[Array]:
        self.seen = inputs["images"]
        return list(self.outputs.values())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "m.onnx").write_bytes(b"network")
    return tmp_path / "m.onnx"


@pytest.mark.parametrize("outputs", [yolo8, yolo5, final, mmdeploy])
def test_layouts(outputs: Any) -> None:
    corners, scores = people_boxes(outputs(), 0)
    assert corners[scores > 0.5].tolist() == [CORNERS]
    assert scores[scores > 0.5].tolist() == [0.9]


def test_another_class_is_people() -> None:
    corners, scores = people_boxes(yolo8(), 2)
    assert corners[scores > 0.5].tolist() == [CORNERS]


def test_a_single_class_without_suppression() -> None:
    found = np.zeros((1, 25200, 6))
    found[0, 7] = [*CENTRED, 0.9, 1.0]
    corners, scores = people_boxes({"o": found}, 0)
    assert corners[scores > 0.5].tolist() == [CORNERS]


@pytest.mark.parametrize("shape", [(1, 1000), (2, 84, 8400), (1, 50, 50), (1, 300, 4)])
def test_other_layouts(shape: tuple[int, ...]) -> None:
    with pytest.raises(SchemaError, match="no layout that is understood"):
        people_boxes({"o": np.zeros(shape)}, 0)
    with pytest.raises(SchemaError, match="of no layout"):
        people_boxes({}, 0)


def test_in_and_back(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Runtime(final(), (1, 3, "height", "width"))
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    detector = open_detector("auto", DetectorOptions(model=model))
    image = np.zeros((960, 1280, 3), np.uint8)
    image[280:681, 540:741] = (255, 128, 0)
    found = detector.detect(frame(image)).boxes
    # input pixels are half as large, edge 0 is pixel -0.5, and 80 grey rows lie above
    np.testing.assert_allclose(found, [[539.5, 279.5, 200, 400, 0.9]])
    assert runtime.seen.shape == (1, 3, 640, 640)
    assert runtime.seen.dtype == np.float32
    assert runtime.seen[0, :, 300, 320] == pytest.approx([1, 128 / 255, 0], abs=0.01)
    assert runtime.seen[0, :, 40, 320] == pytest.approx([114 / 255] * 3)
    assert not runtime.seen[0, :, 90, 100].any()


def test_what_it_cannot_use(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = DetectorOptions(model=model)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UsageError, match=r"pip install 'hmtools\[onnx\]'"):
        open_detector("onnx", options)
    monkeypatch.setitem(sys.modules, "onnxruntime", Runtime(final(), (1, 1, 64, 64)))
    with pytest.raises(SchemaError, match="expected one float input"):
        open_detector("onnx", options)
    model.write_bytes(b"broken")
    with pytest.raises(LayoutError, match="cannot load it: no graph"):
        open_detector("onnx", options)
    with pytest.raises(LayoutError, match="nothing is downloaded"):
        open_detector("onnx", DetectorOptions(model=tmp_path / "n.onnx"))
    with pytest.raises(UsageError, match="name a local file"):
        open_detector("onnx", DetectorOptions())
