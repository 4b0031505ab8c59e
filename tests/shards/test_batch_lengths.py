from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from hmtools.core.errors import SchemaError
from hmtools.shards.batch_lengths import batch_lengths


def written(path: Path, lengths: list[int], *, words: bool = False, many: int = 1) -> Path:
    fields = [pa.field(f"n{i}", pa.int64()) for i in range(many)]
    if words:
        fields.append(pa.field("word", pa.dictionary(pa.int8(), pa.string())))
    schema = pa.schema(fields, metadata={"note": "x" * 1000})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        for length in lengths:
            columns = [pa.array(np.arange(length)) for _ in range(many)]
            if words:
                columns.append(pa.DictionaryArray.from_arrays(pa.array(np.zeros(length, np.int8)), ["a"]))
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
    return path


@pytest.mark.parametrize("lengths", [[], [0], [1], [256, 256, 3], [5, 0, 7], list(range(1, 300))])
@pytest.mark.parametrize("options", [{}, {"words": True}, {"many": 90}])
def test_lengths(tmp_path: Path, lengths: list[int], options: dict[str, int]) -> None:
    path = written(tmp_path / "t.arrow", lengths, **options)  # type: ignore[arg-type]
    assert batch_lengths(path) == lengths


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "t.arrow", [256] * 4)
    whole = path.read_bytes()
    for cut in (b"", whole[:5], whole[:-1], whole[:-10], whole[:-10] + b"\xff\xff\xff\x7fARROW1"):
        path.write_bytes(cut)
        with pytest.raises(SchemaError, match=r"t\.arrow: not a complete Arrow file"):
            batch_lengths(path)


def test_any_damage_is_an_error_or_a_number(tmp_path: Path) -> None:
    path = written(tmp_path / "t.arrow", [256] * 4)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for _ in range(500):
        data = bytearray(whole)
        data[int(rng.integers(len(data)))] = int(rng.integers(256))
        path.write_bytes(data)
        try:
            found = batch_lengths(path)
        except SchemaError:
            continue
        assert all(isinstance(length, int) for length in found)
