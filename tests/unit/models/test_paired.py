"""The pair of networks: exactly the stock networks without noise, directions, players, noise."""

from argparse import Namespace

import pytest
import torch
from fairseq.data import LanguagePairDataset
from fairseq.models.lstm import LSTMModel
from fairseq.models.transformer import TransformerModel
from unit.tiny import dictionary, make_batch, make_pair, make_task

from fairseq_ami.errors import AMIError
from fairseq_ami.models.pair_latent import repeat_rows
from fairseq_ami.modules import dropout_off, weights_replaced
from fairseq_ami.optim import AMIPhased
from fairseq_ami.optim.ami_phased import AMIPhasedConfig
from fairseq_ami.random_streams import stream_keys

ARCHS = ["ami_transformer", "ami_lstm"]
STOCK = {"ami_transformer": TransformerModel, "ami_lstm": LSTMModel}
PAIRS = [([0, 2, 1, 1], [0]), ([1], [0, 1, 1]), ([2, 0], [1])]


def stock_network(model, name, arch, task):
    """fairseq's own model with the settings and weights of one network of the pair."""
    if name == "backward":
        task = make_task(2, 3)
    settings = model.args_of_test.network_settings[name]
    network = STOCK[arch].build_model(Namespace(**settings), task)
    network.load_state_dict(getattr(model, f"{name}_model").state_dict(), strict=True)
    return network


# ------------------------------------------------------------------ the plain networks


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("arch", ARCHS)
def test_without_noise_it_is_the_stock_network_bit_for_bit(task, arch, training):
    """Same logits, in both directions; weights fit strictly."""
    model = make_pair(task, arch=arch).train(training)
    batch = make_batch(task, [PAIRS[0], PAIRS[2], PAIRS[1]])
    stock = stock_network(model, "forward", arch, task).train(training)
    assert torch.equal(model(**batch["net_input"])[0], stock(**batch["net_input"])[0])
    assert torch.equal(model.run(model.forward_model, batch["net_input"]), stock(**batch["net_input"])[0])

    back = make_batch(make_task(2, 3), [(target, source) for source, target in PAIRS])
    stock = stock_network(model, "backward", arch, task).train(training)
    assert torch.equal(model.run(model.backward_model, back["net_input"]), stock(**back["net_input"])[0])


@pytest.mark.parametrize("arch", ARCHS)
def test_rows_need_not_be_sorted_by_length(task, arch):
    """Reversed batches and samples come in any order: each row has its own result."""
    model = make_pair(task, arch=arch)
    inputs = make_batch(task, PAIRS)["net_input"]
    order = torch.tensor([2, 0, 1])
    mixed = {key: value[order] for key, value in inputs.items()}
    net = model.forward_model
    assert torch.allclose(model.run(net, mixed), model.run(net, inputs)[order], atol=1e-6)
    assert torch.allclose(model(**mixed)[0], model(**inputs)[0][order], atol=1e-6)


@pytest.mark.parametrize("arch", ARCHS)
def test_normalized_probabilities_are_the_stock_ones(task, arch):
    """What generators and criterions of fairseq ask for."""
    model = make_pair(task, arch=arch)
    inputs = make_batch(task, PAIRS)["net_input"]
    out = model(**inputs)
    want = torch.log_softmax(out[0], -1)
    assert torch.allclose(model.get_normalized_probs(out, log_probs=True), want, atol=1e-6)


# ------------------------------------------------------------------ directions


def rebuilt(model, arch, task):
    other = type(model).build_model(model.args_of_test, task)
    other.load_state_dict(model.state_dict())
    return other.train()


@pytest.mark.parametrize("arch", ARCHS)
def test_swapped_languages_give_the_backward_network(task, arch):
    """A task de -> en over the same checkpoint: encoder, decoder, outputs and limits are those of Q(S|T)."""
    model = make_pair(task, arch=arch)
    swapped = rebuilt(model, arch, make_task(2, 3, ("de", "en")))
    assert (model.direction, swapped.direction) == ("forward", "backward")
    assert swapped.encoder is swapped.backward_model.encoder and swapped.decoder is swapped.backward_model.decoder
    assert model.encoder is model.forward_model.encoder
    inputs = make_batch(make_task(2, 3), [([0, 1], [2]), ([1], [0, 2])])["net_input"]
    assert torch.equal(swapped(**inputs)[0], model.run(model.backward_model, inputs))
    assert rebuilt(model, arch, task).direction == "forward"


def test_other_languages_are_refused(task):
    """The message says which pair the model is for."""
    model = make_pair(task)
    with pytest.raises(AMIError, match="en -> de and back; it was asked for en -> fr"):
        rebuilt(model, "ami_transformer", make_task(3, 2, ("en", "fr")))


def test_limits_are_those_of_both_networks(task):
    """Each side is read by one network and written by the other."""
    model = make_pair(task)
    settings = model.args_of_test.network_settings
    settings["forward"].update(max_source_positions=12, max_target_positions=30)
    settings["backward"].update(max_source_positions=25, max_target_positions=40)
    pair = type(model).build_model(model.args_of_test, task)
    assert pair.max_positions() == (12, 25) and pair.max_decoder_positions() == 30
    swapped = type(model).build_model(model.args_of_test, make_task(2, 3, ("de", "en")))
    assert swapped.max_positions() == (25, 12) and swapped.max_decoder_positions() == 40


def dialogue(task):
    """The same dictionary on both sides; what the backward network reads and writes has names of its own."""
    task.target_dictionary = task.source_dictionary
    task.backward_languages = ("context", "last")
    return task


@pytest.mark.parametrize("arch", ARCHS)
def test_the_backward_network_reads_what_the_forward_one_writes(task, arch):
    """Its limits are exchanged: pairs of 200 lengths within 20 and 6 all stay, by fairseq's own filter."""
    model = make_pair(task, arch=arch, max_source_positions=20, max_target_positions=6)
    assert model.max_positions() == (20, 6) and model.backward_model.max_positions() == (6, 20)
    lengths = torch.stack([torch.randint(1, limit + 1, (200,)) for limit in (20, 6)])
    sides = [[torch.zeros(length) for length in side] for side in lengths.tolist()]
    sides = [part for side in zip(sides, lengths.numpy(), [task.source_dictionary] * 2) for part in side]
    data = LanguagePairDataset(*sides)
    kept, left_out = data.filter_indices_by_size(data.ordered_indices(), model.max_positions())
    assert len(kept) == 200 and len(left_out) == 0


@pytest.mark.parametrize("arch", ARCHS)
def test_short_sources_leave_long_targets_alone(task, arch):
    """As with --truncate-source --max-source-positions 8."""
    model = make_pair(task, arch=arch, max_source_positions=8, max_target_positions=1024)
    assert model.max_positions() == (8, 1024)


@pytest.mark.parametrize("arch", ARCHS)
def test_limits_in_dialogue(task, arch):
    """Both networks read a history and write one utterance: nothing is exchanged. Only a reply is read by both."""
    model = make_pair(dialogue(task), arch=arch, max_source_positions=30, max_target_positions=5)
    assert model.backward_model.max_positions() == (30, 5) and model.max_positions() == (30, 5)
    task.cfg.source_lang, task.cfg.target_lang = task.backward_languages
    settings = model.args_of_test.network_settings
    settings["forward"].update(max_source_positions=9, max_target_positions=8)
    assert type(model).build_model(model.args_of_test, task).max_positions() == (30, 5)
    settings["backward"].update(max_source_positions=7, max_target_positions=6)
    task.cfg.source_lang, task.cfg.target_lang = "en", "de"
    assert type(model).build_model(model.args_of_test, task).max_positions() == (9, 7)


def test_stored_limits_stay_as_they_are(task):
    """Of a checkpoint whose two networks have the same ones, and of one before dialogue."""
    model = make_pair(task)
    args = model.args_of_test
    for name in ("forward", "backward"):
        args.network_settings[name].update(max_source_positions=20, max_target_positions=6)
    del args.backward_languages
    again = type(model).build_model(args, task)
    assert again.backward_model.max_positions() == (20, 6) and again.max_positions() == (6, 6)


def test_limits_of_a_backward_checkpoint_are_its_own(task, tmp_path):
    """It was trained with them."""
    settings = make_pair(task).args_of_test.network_settings["backward"]
    stock = {**settings, "arch": "transformer", "max_source_positions": 7, "max_target_positions": 9}
    torch.save({"cfg": {"model": stock}, "model": {}}, tmp_path / "stock.pt")
    given = {"max_source_positions": 20, "max_target_positions": 6, "backward_checkpoint": str(tmp_path / "stock.pt")}
    model = make_pair(task, **given)
    assert model.backward_model.max_positions() == (7, 9) and model.max_positions() == (9, 6)


def test_dictionaries_go_to_the_right_sides(task):
    """T' is read by the backward encoder: target dictionary there."""
    model = make_pair(task)
    sizes = [
        getattr(network, side).embed_tokens.num_embeddings
        for network in (model.forward_model, model.backward_model) for side in ("encoder", "decoder")
    ]  # fmt: skip
    source, target = len(dictionary(3)), len(dictionary(2))
    assert sizes == [source, target, target, source]


# ------------------------------------------------------------------ players


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("shared", [False, True])
def test_every_parameter_has_exactly_one_player(arch, shared):
    """Also when embeddings are shared within a network; none between networks."""
    task = make_task(3, 3)
    task.target_dictionary = task.source_dictionary
    name = "share_all_embeddings" if arch == "ami_transformer" else "share_decoder_input_output_embed"
    model = make_pair(task, arch=arch, **({name: True} if shared else {}))
    owners = {}
    for player, network in model.player_networks().items():
        for parameter in network.parameters():
            owners.setdefault(id(parameter), set()).add(player)
            assert parameter.param_group == player
    assert all(len(players) == 1 for players in owners.values())
    assert {id(parameter) for parameter in model.parameters()} == set(owners)


def test_only_the_players_of_the_phase_require_gradients(pair):
    """The others cost no backward pass."""
    for players in ({"noise"}, {"forward", "backward"}, set()):
        pair.set_players(players)
        for player, network in pair.player_networks().items():
            assert {p.requires_grad for p in network.parameters()} == {player in players}


FROZEN = {"encoder_freeze_embed": True, "decoder_freeze_embed": True}


def test_frozen_weights_stay_frozen(task):
    """fairseq freezes the LSTMs' embeddings; the optimizer, which is built before the first phase, has none of them."""
    model = make_pair(task, arch="ami_lstm", **FROZEN)
    frozen = {f"{name}_model.{side}.embed_tokens.weight" for name in ("forward", "backward")
              for side in ("encoder", "decoder")}  # fmt: skip
    optimized = {name for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name, _ in model.named_parameters()} - optimized == frozen
    for players in ({"noise"}, {"forward", "backward", "noise"}):
        model.set_players(players)
        moving = {name for name, p in model.named_parameters() if p.requires_grad}
        assert moving == {name for name in optimized if model.get_parameter(name).param_group in players}
    for player in model.player_networks():
        trained = [id(p) for p in model.trained_by(player)]
        assert trained == [id(p) for n, p in model.named_parameters() if p.param_group == player and n in optimized]


def test_without_noise_network_there_are_two_players(task):
    """--no-latent-noise."""
    assert set(make_pair(task, no_latent_noise=True).player_networks()) == {"forward", "backward"}


# ------------------------------------------------------------------ noise


def flat_states(out):
    return {"outputs": out[0], "hidden": out[1], "cells": out[2], "mask": out[3]}


def test_lstm_noise_changes_only_the_first_decoder_states(task):
    """Attention keeps the unperturbed outputs; hidden states and cells of every layer move."""
    model = make_pair(task, arch="ami_lstm", encoder_layers=2, decoder_layers=2)
    batch = make_batch(task, PAIRS)
    plain = model.encode(model.forward_model, batch["net_input"]["src_tokens"], batch["net_input"]["src_lengths"])
    noisy, norm = model.perturb(plain, stream_keys(1, 0, 1, batch["id"], 1))
    before, after = flat_states(plain), flat_states(noisy)
    assert torch.equal(before["outputs"], after["outputs"]) and torch.equal(before["mask"], after["mask"])
    moved = torch.cat([after[k] - before[k] for k in ("hidden", "cells")])
    assert moved.shape[0] == 4 and (moved != 0).all()
    assert torch.allclose(norm, moved.pow(2).mean((0, 2)).sqrt(), atol=1e-5)


def test_transformer_noise_leaves_padding_and_the_original_alone(task, pair):
    """The encoder output itself is not written to; its padded positions get nothing."""
    batch = make_batch(task, PAIRS)
    plain = pair.encode(pair.forward_model, batch["net_input"]["src_tokens"], batch["net_input"]["src_lengths"])
    before = plain["encoder_out"][0].clone()
    noisy, norm = pair.perturb(plain, stream_keys(1, 0, 1, batch["id"], 1))
    assert torch.equal(plain["encoder_out"][0], before)
    moved = noisy["encoder_out"][0] - before
    padding = batch["net_input"]["src_tokens"].eq(1).t()
    assert (moved[padding] == 0).all() and (moved[~padding] != 0).all()
    for row in range(len(PAIRS)):
        assert norm[row].item() == pytest.approx(moved[~padding[:, row], row].pow(2).mean().sqrt().item(), rel=1e-4)


@pytest.mark.parametrize("arch", ARCHS)
def test_repeated_rows_are_neighbours(task, arch):
    """a b -> a a a b b b, as the samples of a source are numbered."""
    model = make_pair(task, arch=arch)
    batch = make_batch(task, PAIRS[:2])
    net, inputs = model.forward_model, batch["net_input"]
    out = model.encode(net, inputs["src_tokens"], inputs["src_lengths"])
    out = repeat_rows(net.encoder, out, 3, 2, torch.device("cpu"))
    previous = inputs["prev_output_tokens"].repeat_interleave(3, 0)
    got = net.decoder(previous, encoder_out=out)[0]
    assert torch.allclose(got, model.run(net, inputs).repeat_interleave(3, 0), atol=1e-6)


# ------------------------------------------------------------------ dropout and replaced weights

DROPOUT = {
    "ami_transformer": {"dropout": 0.5, "attention_dropout": 0.4, "activation_dropout": 0.3, "encoder_layerdrop": 0.5},
    "ami_lstm": {"encoder_layers": 2, "decoder_layers": 2, "encoder_dropout_in": 0.5, "decoder_dropout_in": 0.5,
                 "encoder_dropout_out": 0.4, "decoder_dropout_out": 0.4},
}  # fmt: skip


def probabilities(model):
    """Every dropout probability of the model, wherever a module keeps one."""
    found = {}
    for name, module in model.named_modules():
        for key in ("p", "dropout"):
            if isinstance(getattr(module, key, None), float):
                found[name, key] = getattr(module, key)
    return found


@pytest.mark.parametrize("arch", ARCHS)
def test_dropout_off_is_eval_mode_and_is_undone(task, arch):
    """Same outputs as in eval mode while the network stays in training mode; every value is back afterwards."""
    model = make_pair(task, arch=arch, **DROPOUT[arch])
    inputs = make_batch(task, PAIRS)["net_input"]
    before = probabilities(model)
    assert len({value for value in before.values() if value > 0}) >= 2
    with dropout_off(model.forward_model):
        assert model.training and model.forward_model.training
        got = model(**inputs)[0]
    assert probabilities(model) == before
    assert not torch.allclose(model(**inputs)[0], got)
    assert torch.allclose(model.eval()(**inputs)[0], got, atol=1e-5)


def test_dropout_comes_back_after_an_error(task):
    """An interrupted phase must not leave the network without dropout."""
    model = make_pair(task, dropout=0.5)
    before = probabilities(model)
    with pytest.raises(KeyboardInterrupt), dropout_off(model):
        raise KeyboardInterrupt
    assert probabilities(model) == before


def test_weights_replaced_and_put_back(pair, task):
    """The frozen common Q computes with its own weights; the model's are back, the very same tensors."""
    batch = make_batch(make_task(2, 3), [([0, 1], [2])])["net_input"]
    other = make_pair(task, seed=5)
    saved = [p.detach().clone() for p in other.backward_model.parameters()]
    before, pointers = pair.run(pair.backward_model, batch), [p.data_ptr() for p in pair.backward_model.parameters()]
    with weights_replaced(pair.trained_by("backward"), saved):
        assert torch.equal(pair.run(pair.backward_model, batch), other.run(other.backward_model, batch))
    assert torch.equal(pair.run(pair.backward_model, batch), before)
    assert [p.data_ptr() for p in pair.backward_model.parameters()] == pointers


@pytest.mark.parametrize("frozen", [{}, FROZEN, {"infomax_dim": 3}])
def test_weights_of_the_optimizer_are_put_where_they_belong(task, frozen):
    """The optimizer keeps those that are trained: also with frozen embeddings, and with the heads of InfoMax-GAN."""
    batch = make_batch(make_task(2, 3), [([0, 1], [2])])["net_input"]
    model = make_pair(task, arch="ami_lstm", **frozen)
    optimizer = AMIPhased(AMIPhasedConfig(fp16=False, bf16=False), [p for p in model.parameters() if p.requires_grad])
    optimizer.capture_anchor()
    before = model.run(model.backward_model, batch)
    with torch.no_grad():
        for parameter in optimizer.optimizers["backward"].params:
            parameter.add_(0.3)
    assert not torch.allclose(model.run(model.backward_model, batch), before)
    with weights_replaced(model.trained_by("backward"), optimizer.anchor):
        assert torch.equal(model.run(model.backward_model, batch), before)


def test_other_weights_are_refused(pair):
    parameters = pair.trained_by("backward")
    before = [p.detach().clone() for p in parameters]
    with pytest.raises(ValueError), weights_replaced(parameters, before[1:]):
        pass
    assert all(torch.equal(p, saved) for p, saved in zip(parameters, before))


# ------------------------------------------------------------------ quantisation noise


@pytest.mark.parametrize("flag", ["quant_noise_pq", "quant_noise_scalar"])
def test_quantisation_noise_is_refused(task, flag):
    """Asked for, or found in the settings of a pair that an older version trained. There, a network's own scalar noise
    came from its checkpoint and did nothing."""
    with pytest.raises(AMIError, match=f"--{flag.replace('_', '-')} 0.1: .* Leave --{flag.replace('_', '-')} out"):
        make_pair(task, **{flag: 0.1})
    settings = make_pair(task).args_of_test.network_settings
    settings["backward"]["quant_noise_pq"] = 0.1
    with pytest.raises(AMIError, match="--quant-noise-pq 0.1"):
        make_pair(task, network_settings=settings)
    settings["backward"].update(quant_noise_pq=0, quant_noise_scalar=0.1)
    make_pair(task, network_settings=settings)
