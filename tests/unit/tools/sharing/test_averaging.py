"""Averaged parameters against numpy; what cannot be averaged."""

import numpy as np
import pytest
import torch

from fairseq_ami import cli
from fairseq_ami.errors import AMIError
from fairseq_ami.tools.sharing.averaging import average_checkpoints, last_checkpoints


def save(path, model, languages=("en", "de"), **parts):
    cfg = {"model": {"_name": "transformer"}, "task": {"source_lang": languages[0], "target_lang": languages[1]}}
    state = {"args": None, "cfg": cfg, "model": model, "last_optimizer_state": {"big": torch.ones(9)}, **parts}
    torch.save(state, path)
    return str(path)


def random_model(seed, dtype=torch.float32):
    rng = np.random.default_rng(seed)
    return {
        "w": torch.tensor(rng.normal(size=(3, 4)), dtype=dtype),
        "b": torch.tensor(rng.normal(size=4), dtype=dtype),
        "count": torch.tensor([seed]),
    }


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-7), (torch.float64, 1e-15), (torch.float16, 1e-3)])
def test_average_is_the_mean_in_the_parameters_own_type(tmp_path, dtype, tolerance):
    models = [random_model(seed, dtype) for seed in range(3)]
    paths = [save(tmp_path / f"{i}.pt", model) for i, model in enumerate(models)]
    result = average_checkpoints(paths)
    for name in ("w", "b"):
        expected = np.mean([model[name].double().numpy() for model in models], axis=0)
        assert result["model"][name].dtype == dtype
        np.testing.assert_allclose(result["model"][name].double().numpy(), expected, rtol=tolerance, atol=tolerance)
    assert result["model"]["count"].tolist() == [2], "what is no real number is the last one's"
    assert result["last_optimizer_state"] is None


def test_half_precision_is_summed_in_float32(tmp_path):
    """4096 + 1 is 4096 in half precision, so that a sum kept in it would lose all the ones."""
    values = [4096.0] + [1.0] * 7
    paths = [save(tmp_path / f"{i}.pt", {"w": torch.tensor([v], dtype=torch.half)}) for i, v in enumerate(values)]
    expected = np.float16(np.mean(values))  # 512.875, to half precision 513
    assert average_checkpoints(paths)["model"]["w"].numpy()[0] == expected


def test_shared_tensors_stay_shared(tmp_path):
    shared = torch.tensor([1.0, 2.0])
    one = save(tmp_path / "1.pt", {"in": shared, "out": shared, "other": torch.zeros(2)})
    two = save(tmp_path / "2.pt", {"in": shared + 2, "out": (shared + 2), "other": torch.ones(2)})
    result = average_checkpoints([two, one])["model"]
    assert result["in"].data_ptr() == result["out"].data_ptr()
    assert result["in"].tolist() == result["out"].tolist() == [2.0, 3.0]
    assert result["other"].tolist() == [0.5, 0.5]


def test_settings_and_progress_are_those_of_the_last(tmp_path):
    extra = {"train_iterator": {"epoch": 4}, "metrics": [], "ema": {"w": torch.ones(2)}}
    one = save(tmp_path / "1.pt", random_model(0), optimizer_history=[{"num_updates": 10}], extra_state=extra)
    two = save(tmp_path / "2.pt", random_model(1), optimizer_history=[{"num_updates": 20}], extra_state=extra)
    result = average_checkpoints([one, two])
    assert result["optimizer_history"] == [{"num_updates": 20}]
    assert result["extra_state"] == {"train_iterator": {"epoch": 4}}


def test_networks_that_differ_are_refused(tmp_path):
    one = save(tmp_path / "1.pt", random_model(0))
    more = save(tmp_path / "more.pt", {**random_model(0), "extra": torch.ones(1)})
    wider = save(tmp_path / "wider.pt", {**random_model(0), "b": torch.ones(5)})
    swapped = save(tmp_path / "swapped.pt", random_model(0), languages=("de", "en"))
    for other, message in ((more, "extra"), (wider, r"b has the shape \[5\] instead of \[4\]"), (swapped, "de -> en")):
        with pytest.raises(AMIError, match=message):
            average_checkpoints([one, other])


def test_damaged_and_missing_files_are_named(tmp_path):
    one = save(tmp_path / "1.pt", random_model(0))
    half = tmp_path / "half.pt"
    half.write_bytes((tmp_path / "1.pt").read_bytes()[:300])
    for path in (half, tmp_path / "none.pt"):
        with pytest.raises(AMIError, match=path.name):
            average_checkpoints([one, str(path)])


def test_last_checkpoints_go_by_number(tmp_path):
    names = ["checkpoint9.pt", "checkpoint10.pt", "checkpoint11.pt", "checkpoint_1_90.pt", "checkpoint_2_100.pt"]
    for name in [*names, "checkpoint_last.pt", "checkpoint_best.pt", "checkpoint12.pt.tmp1"]:
        (tmp_path / name).touch()
    found = [last_checkpoints(str(tmp_path), *args) for args in (("epoch", 2), ("epoch", 2, 10), ("update", 2))]
    assert [[path.rsplit("/", 1)[1] for path in paths] for paths in found] == [
        ["checkpoint10.pt", "checkpoint11.pt"],
        ["checkpoint9.pt", "checkpoint10.pt"],
        ["checkpoint_1_90.pt", "checkpoint_2_100.pt"],
    ]
    for args in (("epoch", 4), ("update", 0)):
        with pytest.raises(AMIError):
            last_checkpoints(str(tmp_path), *args)


def test_command(tmp_path, capsys):
    models = [random_model(seed) for seed in range(3)]
    for i, model in enumerate(models):
        save(tmp_path / f"checkpoint{i + 1}.pt", model)
    out = tmp_path / "new" / "mean.pt"
    command = ["average", "--inputs", str(tmp_path), "--num-epoch-checkpoints", "2", "--output", str(out)]
    assert cli.main(command) == 0
    written = torch.load(out, weights_only=True)["model"]["w"].numpy()
    np.testing.assert_allclose(written, np.mean([m["w"].numpy() for m in models[1:]], axis=0), rtol=1e-6)
    before = out.read_bytes()
    assert cli.main(command) == 2 and "--overwrite" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert cli.main([*command, "--overwrite"]) == 0


def test_command_line_mistakes(tmp_path, capsys):
    one = save(tmp_path / "1.pt", random_model(0))
    for inputs, message in (([str(tmp_path)], "num-epoch-checkpoints"), ([one, str(tmp_path / "no.pt")], "no.pt")):
        assert cli.main(["average", "--inputs", *inputs, "--output", str(tmp_path / "out.pt")]) == 2
        assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.pt"]


def test_other_checkpoints_than_were_asked_for(tmp_path):
    """A run that saved epochs has no update checkpoints: the message says what it has and who writes the others."""
    for name in ("checkpoint1.pt", "checkpoint2.pt", "checkpoint_best.pt"):
        (tmp_path / name).touch()
    with pytest.raises(AMIError, match="holds 0 update checkpoints, 5 .*: --num-epoch-checkpoints 2.* --save-interval"):
        last_checkpoints(str(tmp_path), "update", 5)
    with pytest.raises(AMIError, match="holds 2 epoch checkpoints, 3 .*asked for. fairseq-train writes one after each"):
        last_checkpoints(str(tmp_path), "epoch", 3)
