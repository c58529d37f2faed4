"""What is exported says what the checkpoint says, for any batch and time, and needs this package no more."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from tiny_runs import fit

import ffattn
import ffattn.inference.exporters
from ffattn.config.compose import compose_config
from ffattn.errors import FFAttnError
from ffattn.export import run as export
from ffattn.inference.checkpoint import CheckpointError
from ffattn.models import FFAttention, Network, Sizes
from tests.pairwise import few

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("safetensors")


def written(checkpoint, output, **options):
    named = {"checkpoint": checkpoint, "output": output} | options
    export(compose_config("export", [f"{name}={value}" for name, value in named.items()]))
    return output


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Sequences with a number that is missing now and then, a category, and a class."""
    numbers = np.random.default_rng(0)
    lines = ["id,a,b,kind,y"]
    for i in range(40):
        for t in range(i % 4 + 1):
            gap = "" if (i + t) % 5 == 0 else f"{numbers.normal(50, 20):.3f}"
            lines.append(f"s{i},{gap},{t},{'uvw'[(i + t) % 3]},{'left' if i % 2 else 'right'}")
    path = tmp_path_factory.mktemp("data") / "table.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def classifier(table, tmp_path_factory):
    options = {"path": table, "id": "id", "target": "y", "missing": "mask"}
    overrides = [f"task.{name}={value}" for name, value in options.items()]
    overrides += ["updates=12", "batch_size=8", "logger=none", "trainer.progress=none", "model.hidden=8"]
    return ffattn.fit("task=file", *overrides, folder=tmp_path_factory.mktemp("run") / "run", quiet=True)


@pytest.fixture(scope="module")
def exported_classifier(classifier, tmp_path_factory):
    """The classifier in each format, made once."""
    folder = tmp_path_factory.mktemp("classifier")
    return {suffix: written(classifier.checkpoint, folder / f"model.{suffix}") for suffix in ("onnx", "pt2")}


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"model": "ffattn"}, marks=pytest.mark.slow),
        {"model": "ffattn", "model__normalizer": "relu2", "model__score": "linear", "model__position": "fraction"},
        {"model": "ffattn", "model__length_scale": True, "model__position": "sinusoid"},
        {"model": "mean", "task": "temporal_order_2"},
        {"model": "lstm_attention"},
        pytest.param({"model": "lstm", "model__cell": "gru"}, marks=pytest.mark.slow),
    ],
    ids=lambda options: "_".join(map(str, options.values())),
)
def test_onnx_agrees_for_any_batch_and_time(tmp_path, options):
    run = fit(tmp_path / "run", **options)
    runs = session(written(run.checkpoint, tmp_path / "model.onnx"))
    trained = run.load()
    for batch, time in ((1, 1), (4, 13), (2, 300)):
        x = torch.randn(batch, time, trained.task.num_features)
        lengths = torch.randint(1, time + 1, (batch,))
        (found,) = runs.run(None, {"x": x.numpy(), "lengths": lengths.numpy()})
        answer = trained.answer(x, lengths).prediction
        wanted = answer.softmax(dim=1) if trained.task.is_classification else answer
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("position", few(["none", "fraction", "sinusoid"], 2))
def test_torch_export_agrees_for_any_batch_and_time(tmp_path, position):
    run = fit(tmp_path / "run", model__position=position)
    program = torch.export.load(written(run.checkpoint, tmp_path / "model.pt2")).module()
    for batch, time in ((1, 1), (4, 13), (2, 300)):
        x = torch.randn(batch, time, 2)
        lengths = torch.randint(1, time + 1, (batch,))
        wanted = run.load().predict(x, lengths)
        torch.testing.assert_close(program(x, lengths), wanted, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def exported(finished, tmp_path_factory):
    """The finished run as ONNX."""
    return written(finished.checkpoint, tmp_path_factory.mktemp("onnx") / "model.onnx")


@pytest.mark.parametrize("time", [1, 50, 100_000])
def test_onnx_runs_at_any_length(finished, exported, time):
    runs = session(exported)
    x = torch.rand(1, time, 2)
    (found,) = runs.run(None, {"x": x.numpy(), "lengths": np.array([time])})
    np.testing.assert_allclose(found, finished.load().predict(x).numpy(), rtol=1e-4, atol=1e-5)


def test_weights_are_an_output_if_asked_for(finished, tmp_path):
    runs = session(written(finished.checkpoint, tmp_path / "model.onnx", weights="true"))
    x = torch.rand(3, 9, 2)
    lengths = torch.tensor([9, 1, 4])
    _, weights = runs.run(["prediction", "weights"], {"x": x.numpy(), "lengths": lengths.numpy()})
    np.testing.assert_allclose(weights, finished.load().answer(x, lengths).weights.numpy(), atol=1e-6)


def test_padding_reaches_no_result(exported):
    runs = session(exported)
    x = np.random.default_rng(0).normal(size=(2, 6, 2)).astype(np.float32)
    lengths = np.array([4, 6])
    (clean,) = runs.run(None, {"x": x, "lengths": lengths})
    x[0, 4:] = np.nan
    (dirty,) = runs.run(None, {"x": x, "lengths": lengths})
    np.testing.assert_array_equal(clean, dirty)


@pytest.mark.parametrize("suffix", ["onnx", "pt2"])
def test_preparation_is_part_of_the_graph(classifier, exported_classifier, table, suffix):
    from ffattn.inference.on_files import predict, read_inputs

    path = exported_classifier[suffix]
    trained = classifier.load()
    (raw,) = read_inputs(table, trained.task).pieces
    places = {name: place for place, name in enumerate(["u", "v", "w"], start=1)}
    columns = raw.features["a"], raw.features["b"], np.array([places[name] for name in raw.features["kind"]])
    steps = np.stack(columns, axis=1).astype(np.float32)
    rows = list(predict(trained, [raw]))
    for i in (0, 7, 39):
        x = steps[None, raw.offsets[i] : raw.offsets[i + 1]]
        lengths = raw.lengths[i : i + 1].astype(np.int64)
        if suffix == "onnx":
            (found,) = session(path).run(None, {"x": x, "lengths": lengths})
        else:
            found = torch.export.load(path).module()(torch.from_numpy(x), torch.from_numpy(lengths)).detach().numpy()
        np.testing.assert_allclose(found[0], [rows[i]["p_left"], rows[i]["p_right"]], rtol=1e-4)


def test_the_file_says_what_its_inputs_are(exported_classifier):
    runs = session(exported_classifier["onnx"])
    assert json.loads(runs.get_modelmeta().custom_metadata_map["ffattn"]) == {
        "columns": ["a", "b", "kind"],
        "targets": ["y"],
        "classes": ["left", "right"],
        "categories": {"kind": ["u", "v", "w"]},
    }


@pytest.mark.cli
def test_onnx_needs_this_package_no_more(exported):
    code = (
        "import sys; sys.modules['ffattn'] = sys.modules['torch'] = None\n"
        "import numpy as np, onnxruntime as o\n"
        "inputs = {'x': np.zeros((1, 5, 2), np.float32), 'lengths': np.array([5])}\n"
        f"r = o.InferenceSession({str(exported)!r}).run(None, inputs)\n"
        "print(r[0].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(1, 1)\n"


def test_weights_alone_are_a_checkpoint(classifier, tmp_path):
    loaded = ffattn.load(written(classifier.checkpoint, tmp_path / "model.safetensors"))
    trained = classifier.load()
    assert loaded.evaluate() == trained.evaluate()
    assert (loaded.task, loaded.model, loaded.update) == (trained.task, trained.model, trained.update)


def test_a_damaged_file_of_weights_is_told(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="not a file of weights, or a damaged one"):
        ffattn.load(tmp_path / "x.safetensors")


def test_what_differs_from_the_checkpoint_is_not_kept(finished, tmp_path, monkeypatch):
    monkeypatch.setattr(ffattn.inference.exporters, "largest_difference", lambda *_: 0.5)
    with pytest.raises(CheckpointError, match=r"differs from the checkpoint by 5.0e-01"):
        written(finished.checkpoint, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_no_answer_is_a_difference(finished):
    from ffattn.inference.columns import preparation_of
    from ffattn.inference.exporters import examples, largest_difference

    trained = finished.load()
    nothing = lambda x, lengths: [np.full((len(x), 1), np.nan, np.float32)]  # noqa: E731
    assert np.isnan(largest_difference(nothing, trained, examples(preparation_of(trained.task)), False))


def test_only_known_networks_are_exported():
    class Other(Network):
        def forward(self, x, lengths, return_weights=False):
            raise AssertionError

    with pytest.raises(CheckpointError, match="only this package's models"):
        ffattn.inference.exporters.check_kind(Other(), "onnx")
    assert (
        ffattn.inference.exporters.check_kind(FFAttention(hidden=2).build(Sizes(2, 1, is_classification=False)), "onnx")
        is None
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "model.h5"}, "output=model.h5: must end in .onnx, .pt2, .safetensors"),
        ({"output": "model.onnx", "format": "torch_export"}, "output=model.onnx: must end in .pt2"),
        ({"output": "nowhere/model.onnx"}, "there is no folder nowhere"),
        ({"output": "model.onnx", "format": "tf"}, "format=tf: must be one of"),
    ],
)
def test_mistakes_are_told(finished, options, message):
    with pytest.raises(FFAttnError, match=message):
        written(finished.checkpoint, **options)


def test_recurrent_networks_are_refused_where_torch_fixes_their_length(tmp_path):
    run = fit(tmp_path / "run", model="lstm")
    with pytest.raises(CheckpointError, match="use format=onnx"):
        written(run.checkpoint, tmp_path / "model.pt2")
    with pytest.raises(CheckpointError, match="model=lstm has no attention"):
        written(run.checkpoint, tmp_path / "model.onnx", weights="true")
