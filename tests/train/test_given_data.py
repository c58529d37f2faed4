"""Training on sequences of a file, from its reading to predictions for another one."""

import csv
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_runs import read

import ffattn
from ffattn.api import fit as fit_objects
from ffattn.config.compose import compose_config
from ffattn.config.errors import ConfigError
from ffattn.config.trained_schema import Evaluate
from ffattn.errors import DataError, FFAttnError
from ffattn.models import FFAttention
from ffattn.predict import run as predict
from ffattn.rng.streams import Split
from ffattn.runs.evaluating import prepare
from ffattn.tasks import File

OPTIONS = {
    "task": "file",
    "task.target": "load",
    "task.id": "plant",
    "task.time": "day",
    "batch_size": 8,
    "updates": 12,
    "accelerator": "cpu",
    "logger": "none",
    "trainer.progress": "none",
    "model.hidden": 8,
}


@pytest.fixture(scope="module")
def sensors(tmp_path_factory):
    """Sixty plants with 2 to 5 days each, a category among the columns; and what they are to be predicted."""
    numbers = np.random.default_rng(0)
    lines = ["plant,day,kind,temp,load,grade"]
    for plant in range(60):
        kind = "abc"[plant % 3]
        temperatures = numbers.normal(10, 3, plant % 4 + 2)
        load = 2 * temperatures.mean() + 5 * (plant % 3)
        rest = f"{load:.3f},{'low' if load < 25 else 'high'}"
        lines += [f"p{plant},{day},{kind},{value:.3f},{rest}" for day, value in enumerate(temperatures)]
    path = tmp_path_factory.mktemp("data") / "sensors.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def fit(sensors, folder, **options):
    named = OPTIONS | {"task.path": sensors, "task.features": "[kind,temp]"}
    named |= {name.replace("__", "."): value for name, value in options.items()}
    return ffattn.fit(*(f"{name}={value}" for name, value in named.items()), folder=folder, quiet=True)


@pytest.fixture(scope="module")
def run(sensors, tmp_path_factory):
    return fit(sensors, tmp_path_factory.mktemp("run") / "run", updates=60, optim__lr=0.02)


@pytest.mark.parametrize("model", ["ffattn", "mean", "lstm", "lstm_attention"])
@pytest.mark.parametrize("target", ["load", "grade"])
def test_every_model_trains_on_numbers_and_on_classes(sensors, tmp_path, model, target):
    result = fit(sensors, tmp_path / "run", model=model, task__target=target).result
    standard = {"load": {"mae", "rmse", "r2"}, "grade": {"f1", "auroc"}}[target]
    for part in ("val", "test"):
        assert standard <= result[part].keys()
        assert all(np.isfinite(result[part][name]) for name in standard | {"accuracy", "error"})
    assert result["validations"]["update"] == [6, 12]  # 42 sequences for training, 8 in a batch


def test_what_can_be_learned_is_learned(run):
    assert run.result["test"]["r2"] > 0.8
    y = run.load().task.given(Split.TEST).y.double()  # less the mean of training, in its standard deviations
    assert run.result["test"]["baseline"]["error"] == pytest.approx(float(y.square().mean()))


def test_the_usual_measures_are_those_of_the_predictions(run, sensors):
    trained = run.load()
    task = trained.task
    batch = task.given(Split.TEST).batch(torch.arange(task.size(Split.TEST)))
    scale = task.target_scaling().float().scale
    errors = ((trained.answer(batch.x, batch.lengths).prediction - batch.y) * scale).double()
    expected = {"mae": errors.abs().mean(), "rmse": errors.square().mean().sqrt()}
    variance = (batch.y * scale).double().var(correction=0)
    expected["r2"] = 1 - errors.square().mean() / variance
    expected = {name: float(value) for name, value in expected.items()}
    assert {name: run.result["test"][name] for name in expected} == pytest.approx(expected, 1e-4)


def test_a_checkpoint_evaluates_as_the_run_did(run):
    scores = run.load().evaluate()
    assert {name: scores[name] for name in ("accuracy", "error", "r2")} == pytest.approx(
        {name: run.result["test"][name] for name in ("accuracy", "error", "r2")}, 1e-5
    )
    with pytest.raises(ValueError, match="own lengths"):
        run.load().evaluate(T=50)


def test_a_checkpoint_needs_no_file(run, sensors):
    moved = sensors.rename(sensors.with_suffix(".moved"))
    try:
        assert run.load().task.feature_names == ("temp", "kind")
    finally:
        moved.rename(sensors)


@pytest.mark.parametrize("model", ["ffattn", "lstm_attention"])
def test_a_resumed_run_equals_an_undisturbed_one(sensors, tmp_path, model):
    whole = fit(sensors, tmp_path / "whole", model=model, trainer__validate_every=4)
    fit(sensors, tmp_path / "parts", model=model, trainer__validate_every=4, updates=5)
    parts = fit(sensors, tmp_path / "parts", model=model, trainer__validate_every=4, resume="last")
    one, other = (read(r.folder)["state_dict"] for r in (whole, parts))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert whole.result["test"] == parts.result["test"]


def test_a_run_is_not_resumed_on_other_data(sensors, tmp_path):
    copied = tmp_path / "copied.csv"
    copied.write_text(sensors.read_text())
    fit(copied, tmp_path / "run", updates=3)
    copied.write_text(sensors.read_text().replace("p1,0,b,", "p1,0,b,1"))
    with pytest.raises(ConfigError, match="was trained on other data"):
        fit(copied, tmp_path / "run", resume="last")


def test_training_stops_when_validation_gets_no_better(sensors, tmp_path):
    options = {"trainer__patience": 2, "trainer__validate_every": 1, "optim__lr": 1e-12, "updates": 50}
    options |= {"trainer__min_updates": 0}
    run = fit(sensors, tmp_path / "run", **options)
    since = run.result["updates"] - run.result["val"]["update"]
    assert (run.result["stopped_because"], since) == ("patience", 2)
    again = fit(sensors, tmp_path / "run", **options, resume="last")
    assert again.result == run.result
    longer = fit(sensors, tmp_path / "run", **options | {"trainer__patience": 4}, resume="last")
    assert longer.result["updates"] > run.result["updates"]


def test_the_best_validation_has_the_smallest_error(run):
    errors = run.result["validations"]["error"]
    assert run.result["val"]["error"] == min(errors)


def test_objects_do_what_overrides_do(sensors, tmp_path, run):
    task = File(path=str(sensors), target="load", id="plant", time="day", features=["kind", "temp"])
    options = {name: value for name, value in OPTIONS.items() if not name.startswith("task")} | {"updates": 60}
    own = [f"{name}={value}" for name, value in options.items() if name != "model.hidden"]
    model = FFAttention(hidden=8)
    made = fit_objects(*own, "optim.lr=0.02", task=task, model=model, folder=tmp_path / "run", quiet=True)
    assert made.result["test"] == run.result["test"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"T": 50}, "T=50: these sequences have their own lengths; leave T out"),
        ({"T": 1}, "T=1: these sequences have their own lengths; leave T out"),
        ({"length": "fixed"}, "length=fixed: these sequences have their own lengths"),
        ({"trainer__sequences": 10}, "trainer.sequences=10: validation and test are parts of the data"),
        ({"task__target": "nothing"}, "has no column nothing"),
        ({"task__path": "gone.csv"}, "gone.csv: there is no such file"),
    ],
)
def test_what_makes_no_sense_is_refused(sensors, tmp_path, options, message):
    with pytest.raises(FFAttnError, match=message):
        fit(sensors, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_what_is_made_has_no_pass():
    with pytest.raises(ConfigError, match=r"trainer.validate_every=null: is for given data"):
        ffattn.fit("trainer=data", task="add")


@pytest.mark.parametrize(
    ("task", "sizes", "features", "outputs"),
    [
        ("japanese_vowels", (230, 40, 370), 12, 9),
        ("basic_motions", (34, 6, 40), 6, 4),
        ("plaid", (456, 81, 537), 1, 11),
        ("tecator", (146, 26, 43), 1, 1),
        ("watch", (84, 28, 28), 6, 7),
        ("amp_vs_uniprot", (3640, 780, 780), 1, 2),
    ],
)
def test_data_sets_inside_packages(tmp_path, task, sizes, features, outputs):
    pytest.importorskip({"watch": "seglearn", "amp_vs_uniprot": "modlamp"}.get(task, "sktime"))
    small = {"updates": 2, "batch_size": 4, "logger": "none", "trainer.progress": "none", "model.hidden": 4}
    run = ffattn.fit(
        *(f"{key}={value}" for key, value in small.items()), task=task, folder=tmp_path / "run", quiet=True
    )
    known = run.load().task
    assert tuple(known.size(split) for split in Split) == sizes
    assert (known.num_features, known.num_outputs, known.is_classification) == (features, outputs, outputs > 1)
    assert str(Path(sys.prefix)) not in json.dumps(run.result["settings"])  # where it is installed is this machine's


@pytest.mark.parametrize("options", [{}, {"task__features": "[temp]"}, {"task__target": "grade", "model": "lstm"}])
def test_pictures_are_drawn(sensors, tmp_path, options):
    pytest.importorskip("matplotlib")
    fit(sensors, tmp_path / "run", trainer__pictures=1, **options)
    names = {path.name.partition("_0")[0] for path in (tmp_path / "run" / "pictures").glob("*.png")}
    assert names == {"sequence", "answers", "lengths"} | ({"score_function"} if "task__features" in options else set())


def predicted(run, source, output, **options):
    from ffattn.config.compose import compose_config

    named = {"checkpoint": run.checkpoint, "input": source, "output": output} | options
    predict(compose_config("predict", [f"{name}={value}" for name, value in named.items()]))
    if Path(output).suffix == ".jsonl":
        return [json.loads(line) for line in output.read_text().splitlines()]
    if Path(output).suffix == ".parquet":
        from pyarrow import parquet

        return parquet.read_table(output).to_pylist()
    return list(csv.DictReader(output.read_text().splitlines()))


def test_predictions_are_the_networks_in_the_order_of_the_file(run, sensors, tmp_path):
    rows = predicted(run, sensors, tmp_path / "answers.csv")
    assert [row["id"] for row in rows] == [f"p{i}" for i in range(60)]
    loads = {row["plant"]: float(row["load"]) for row in csv.DictReader(sensors.read_text().splitlines())}
    errors = [float(row["load"]) - loads[row["id"]] for row in rows]
    assert np.sqrt(np.mean(np.square(errors))) < 4
    assert sorted(tmp_path.iterdir()) == [tmp_path / "answers.csv"]


def test_targets_in_the_input_are_ignored(run, sensors, tmp_path):
    with_target = predicted(run, sensors, tmp_path / "one.csv")
    columns = [line.split(",") for line in sensors.read_text().splitlines()]
    without = tmp_path / "without.csv"
    without.write_text("".join(",".join([*c[:4]]) + "\n" for c in columns))
    assert predicted(run, without, tmp_path / "two.csv") == with_target


def test_texts_show_the_words_that_are_attended_to(tmp_path):
    fillers = ["The", "film", "of", "this", "year", "was", "seen", "by", "many", "people", "in", "our", "town"]
    numbers = np.random.default_rng(0)
    texts = tmp_path / "texts.csv"
    lines = [f'"{" ".join(numbers.permutation([*fillers, ("Good", "bad")[i % 2]]))}.",{i % 2}' for i in range(80)]
    texts.write_text("text,label\n" + "\n".join(lines) + "\n")
    named = OPTIONS | {"task.path": texts, "task.target": "label", "task.id": "null", "task.time": "null"}
    named |= {"optim.lr": 0.05, "updates": 100, "model.score": "linear"}
    run = ffattn.fit(*(f"{name}={value}" for name, value in named.items()), folder=tmp_path / "run", quiet=True)
    assert run.result["test"]["accuracy"] == 1
    rows = predicted(run, texts, tmp_path / "answers.jsonl", weights="true")
    heaviest = [row["words"][int(np.argmax(row["weights"]))] for row in rows]
    assert set(heaviest[::2]) == {"good"} or set(heaviest[1::2]) == {"bad"}  # the other class may be what is left
    assert sorted(rows[0]["words"]) == sorted(word.lower() for word in [*fillers, "good"])


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_weights_have_one_number_a_step(run, sensors, tmp_path, suffix):
    rows = predicted(run, sensors, tmp_path / f"answers{suffix}", weights="true")
    assert [len(row["weights"]) for row in rows] == [i % 4 + 2 for i in range(60)]
    assert all(sum(row["weights"]) == pytest.approx(1, abs=1e-5) for row in rows)


@pytest.mark.parametrize("target", ["load", "grade"])
def test_parquet_has_the_rows_of_json(sensors, broken, tmp_path, monkeypatch, target):
    monkeypatch.setattr("ffattn.inference.output_files._ROWS", 7)
    run = fit(sensors, tmp_path / "run", updates=2, task__target=target)
    rows = {s: predicted(run, broken, tmp_path / f"answers.{s}", on_error="skip") for s in ("jsonl", "parquet")}
    assert rows["parquet"] == rows["jsonl"]
    assert not list(tmp_path.glob("*.part*"))


def test_parquet_that_was_not_finished_is_written_again(run, sensors, tmp_path, monkeypatch):
    def torn(*arguments):
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr("pyarrow.parquet.ParquetWriter.close", torn)
    with pytest.raises(KeyboardInterrupt):
        predicted(run, sensors, tmp_path / "answers.parquet")
    assert not (tmp_path / "answers.parquet").exists()
    rows = predicted(run, sensors, tmp_path / "answers.parquet")
    assert [row["id"] for row in rows] == [f"p{i}" for i in range(60)]
    assert sorted(tmp_path.iterdir()) == [tmp_path / "answers.parquet"]


def test_classes_have_probabilities(sensors, tmp_path):
    run = fit(sensors, tmp_path / "run", task__target="grade")
    rows = predicted(run, sensors, tmp_path / "answers.jsonl")
    assert all(row["p_low"] + row["p_high"] == pytest.approx(1) for row in rows)
    assert all((row["p_low"] > row["p_high"]) == (row["grade"] == "low") for row in rows)


@pytest.fixture
def broken(sensors, tmp_path):
    """Row 2 has a word for a number, row 6 an unknown category, row 10 nothing."""
    lines = sensors.read_text().splitlines()
    for row, (place, value) in {2: (3, "warm"), 6: (2, "z"), 10: (3, "")}.items():
        cells = lines[row].split(",")
        cells[place] = value
        lines[row] = ",".join(cells)
    path = tmp_path / "broken.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_first_value_that_cannot_be_used_is_named(run, broken, tmp_path):
    with pytest.raises(DataError, match=r"broken.csv, row 2, column temp: warm is no number \(3 of 60 sequences"):
        predicted(run, broken, tmp_path / "answers.csv")
    assert not (tmp_path / "answers.csv").exists()


def test_skipped_sequences_say_why_and_the_others_are_answered(run, sensors, broken, tmp_path):
    right = predicted(run, sensors, tmp_path / "right.csv")
    rows = predicted(run, broken, tmp_path / "answers.csv", on_error="skip")
    wrong = [i for i, row in enumerate(rows) if row["problem"]]
    assert [rows[i]["problem"].partition("broken.csv, ")[2] for i in wrong] == [
        "row 2, column temp: warm is no number",
        "row 6, column kind: z has not occurred in training",
        "row 10, column temp: no value",
    ]
    assert [rows[i]["load"] for i in wrong] == [""] * 3
    others = [i for i in range(60) if i not in wrong]
    assert [float(rows[i]["load"]) for i in others] == pytest.approx(
        [float(right[i]["load"]) for i in others], rel=1e-5
    )


@pytest.mark.parametrize("block", [1, 200])
def test_a_file_that_is_read_in_parts_has_the_same_answers(run, broken, tmp_path, monkeypatch, block):
    whole = predicted(run, broken, tmp_path / "whole.jsonl", on_error="skip")
    monkeypatch.setattr("ffattn.files.tables._BLOCK", block)
    parts = predicted(run, broken, tmp_path / "parts.jsonl", on_error="skip")
    for one, other in zip(parts, whole, strict=True):
        assert (one["id"], one["problem"]) == (other["id"], other["problem"])
        assert one["load"] == (pytest.approx(other["load"], rel=1e-5) if other["load"] is not None else None)
    with pytest.raises(DataError, match=r"broken.csv, row 2, column temp: warm is no number \(3 of 60 sequences"):
        predicted(run, broken, tmp_path / "answers.csv")


def test_rows_that_stand_apart_are_put_together(run, sensors, tmp_path, monkeypatch):
    whole = predicted(run, sensors, tmp_path / "whole.csv")
    header, *rows = sensors.read_text().splitlines()
    mixed = tmp_path / "mixed.csv"
    mixed.write_text("\n".join([header, *rows[::2], *rows[1::2]]) + "\n")
    monkeypatch.setattr("ffattn.files.tables._BLOCK", 200)
    found = {row["id"]: float(row["load"]) for row in predicted(run, mixed, tmp_path / "answers.csv")}
    assert found == pytest.approx({row["id"]: float(row["load"]) for row in whole}, rel=1e-5)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_half_written_file_is_gone_on_with(run, sensors, tmp_path, monkeypatch, suffix):
    import ffattn.inference.on_files

    whole = predicted(run, sensors, tmp_path / f"whole{suffix}")
    rows_of = ffattn.inference.on_files.predict

    def torn(*arguments, **options):
        yield from itertools.islice(rows_of(*arguments, **options), 17)
        raise KeyboardInterrupt

    monkeypatch.setattr(ffattn.inference.on_files, "predict", torn)
    with pytest.raises(KeyboardInterrupt):
        predicted(run, sensors, tmp_path / f"parts{suffix}")
    part = tmp_path / f"parts{suffix}.part"
    part.write_bytes(part.read_bytes()[:-3])  # torn in the middle of a line
    starts = []

    def noted(*arguments, start, **options):
        starts.append(start)
        yield from rows_of(*arguments, start=start, **options)

    monkeypatch.setattr(ffattn.inference.on_files, "predict", noted)
    parts = predicted(run, sensors, tmp_path / f"parts{suffix}")
    assert starts == [16]
    assert [row["id"] for row in parts] == [row["id"] for row in whole]
    assert [float(row["load"]) for row in parts] == pytest.approx([float(row["load"]) for row in whole], rel=1e-5)


def test_a_network_of_a_made_task_answers_for_arrays(finished, tmp_path):
    batch = ffattn.load(finished.checkpoint).task.example(5)
    np.savez(tmp_path / "x.npz", x=batch.x.numpy(), lengths=batch.lengths.numpy())
    rows = predicted(finished, tmp_path / "x.npz", tmp_path / "answers.jsonl")
    expected = ffattn.load(finished.checkpoint).predict(batch.x, batch.lengths).flatten().tolist()
    assert [row["answer"] for row in rows] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"output": "answers.xlsx"}, "output=answers.xlsx: must end in .csv, .jsonl or .parquet"),
        (
            {"output": "answers.csv", "weights": "true"},
            "weights=true: a list for each sequence needs output=NAME.jsonl or NAME.parquet",
        ),
        ({"output": "nowhere/answers.csv"}, "there is no folder nowhere"),
        ({"on_error": "ignore"}, "on_error=ignore: must be one of stop, skip"),
        ({"input": "gone.csv"}, "gone.csv: there is no such file"),
    ],
)
def test_mistakes_in_predicting_are_told(run, sensors, tmp_path, options, message):
    with pytest.raises(FFAttnError, match=message):
        predicted(run, sensors, **{"output": tmp_path / "x.csv"} | options)


@pytest.mark.cli
def test_the_command(run, sensors, tmp_path):
    words = [f"checkpoint={run.checkpoint}", f"input={sensors}", f"output={tmp_path / 'answers.csv'}"]
    done = subprocess.run(
        [sys.executable, "-m", "ffattn.predict", *words], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == f"{tmp_path / 'answers.csv'}: 60 answers\n"
    assert done.stderr == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.csv"]


def test_the_command_evaluates_all_of_it(run, tmp_path):
    words = [f"checkpoint={run.checkpoint}", "accelerator=cpu"]
    settings = prepare(Evaluate, compose_config("evaluate", words), tmp_path / "new", in_sweep=False)
    assert settings.sequences == run.load().task.size(Split.TEST)
    with pytest.raises(ConfigError, match=r"^sequences=5: of given data all are evaluated; leave sequences out$"):
        prepare(Evaluate, compose_config("evaluate", [*words, "sequences=5"]), tmp_path / "new", in_sweep=False)


def test_a_run_on_a_file_in_pieces_goes_on_where_it_was(sensors, tmp_path):
    from pyarrow import csv as reader
    from pyarrow import parquet

    parquet.write_table(reader.read_csv(sensors), path := tmp_path / "sensors.parquet", row_group_size=50)
    options = {"task__path": path, "task__window": 2}
    whole = fit(sensors, tmp_path / "whole", **options)
    assert np.isfinite(whole.result["test"]["rmse"])
    fit(sensors, tmp_path / "run", updates=5, **options)
    run = fit(sensors, tmp_path / "run", resume="last", **options)
    torch.testing.assert_close(read(run.folder)["state_dict"], read(whole.folder)["state_dict"], rtol=0, atol=0)
