"""fairseq's Transformers as folders of Hugging Face transformers.

Networks that normalise before their layers become M2M100's, the others FSMT's. Both libraries' weights have the same
names except for the output layer, and both count positions from the padding symbol on.
"""

import os
from types import ModuleType
from typing import Any, Dict, List, Tuple

import torch
from fairseq.data import Dictionary
from torch import Tensor, nn
from torch.nn import functional

from fairseq_ami.errors import AMIError
from fairseq_ami.files import like_other_files
from fairseq_ami.tools.formats.network import TrainedNetwork, probes, refuse
from fairseq_ami.tools.formats.optional import needed, transformers_for_text

NAME = "huggingface"
TARGET_TOKENIZER = "target_tokenizer"  # folder of the target's tokenizer, where the dictionaries differ
TOLERANCE = 1e-3  # of logits; the differences of float32 were below 1e-5
# fairseq's name of an activation -> that of transformers
ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "gelu_fast": "gelu_new", "gelu_accurate": "gelu_new", "swish": "swish"}


def write_network(network: TrainedNetwork, folder: str) -> None:
    """Convert a network, and compare the folder's network with the original.

    Args:
        network: the original.
        folder: that the converted network is written to; it does not exist yet.

    Raises:
        AMIError: transformers is not installed, it has no such network, or its result differs.
    """
    transformers = transformers_for_text(f"--format {NAME}")
    refuse(NAME, unknown_parts(network))
    before_layers = bool(network.settings["encoder_normalize_before"])
    os.makedirs(folder)
    transformers.utils.logging.disable_progress_bar()
    try:
        model = (_m2m100 if before_layers else _fsmt)(transformers, network)
        model.generation_config = _generation(transformers, network)
        model.eval().save_pretrained(folder)
        _compare(transformers, network, folder)
        _write_tokenizers(transformers, network, folder)
    finally:
        transformers.utils.logging.enable_progress_bar()
    like_other_files(folder)


def unknown_parts(network: TrainedNetwork) -> List[str]:
    """Why neither M2M100 nor FSMT computes what this network computes."""
    get, encoder, decoder = network.settings.get, network.module.encoder, network.module.decoder
    activation = get("activation_fn", "relu")
    sizes = [side.embed_tokens.embedding_dim for side in (encoder, decoder)]
    before = bool(get("encoder_normalize_before"))
    checks = {
        "its positions are learnt (--encoder-learned-pos, --decoder-learned-pos)": bool(
            get("encoder_learned_pos") or get("decoder_learned_pos")
        ),
        "it normalises its embeddings (--layernorm-embedding)": encoder.layernorm_embedding is not None,
        f"the encoder's embeddings have size {sizes[0]} and the decoder's {sizes[1]}": sizes[0] != sizes[1],
        f"it does not know the activation {activation!r} (--activation-fn)": activation not in ACTIVATIONS,
        "it normalises before its layers and its source dictionary is larger than that of the target; M2M100 has one "
        "vocabulary": before and len(network.source) > len(network.target),
    }
    return [reason for reason, holds in checks.items() if holds]


# ---------------------------------------------------------------------- the two architectures


def _sizes(network: TrainedNetwork) -> Dict[str, Any]:
    """Settings that both architectures share."""
    settings, module = network.settings, network.module
    found: Dict[str, Any] = {}
    for side, part in (("encoder", module.encoder), ("decoder", module.decoder)):
        found[f"{side}_layers"] = len(part.layers)
        found[f"{side}_attention_heads"] = settings[f"{side}_attention_heads"]
        found[f"{side}_ffn_dim"] = settings[f"{side}_ffn_embed_dim"]
        found[f"{side}_layerdrop"] = float(settings.get(f"{side}_layerdrop") or 0.0)
    for name in ("dropout", "attention_dropout", "activation_dropout"):
        found[name] = float(settings.get(name) or 0.0)
    return {
        **found,
        "d_model": module.encoder.embed_tokens.embedding_dim,
        "activation_function": ACTIVATIONS[settings.get("activation_fn", "relu")],
        "max_position_embeddings": max(network.limits),
        "scale_embedding": not settings.get("no_scale_embedding"),
        "tie_word_embeddings": _all_shared(network),
        "bos_token_id": network.target.bos(),
        "pad_token_id": network.target.pad(),
        "eos_token_id": network.target.eos(),
        "decoder_start_token_id": network.target.eos(),
    }


def _all_shared(network: TrainedNetwork) -> bool:
    """Whether encoder, decoder and output layer have one table."""
    tables = (network.module.encoder.embed_tokens, network.module.decoder.embed_tokens)
    return len({table.weight.data_ptr() for table in (*tables, network.module.decoder.output_projection)}) == 1


def _weights(network: TrainedNetwork) -> Dict[str, Tensor]:
    """All weights under transformers' names, except for the output layer."""
    state = network.module.state_dict()
    left_out = ("version", "_float_tensor", "output_projection.weight", "embed_positions.weights")
    return {f"model.{key}": value for key, value in state.items() if not key.endswith(left_out)}


def _m2m100(transformers: ModuleType, network: TrainedNetwork) -> Any:
    vocabulary = len(network.target)
    config = transformers.M2M100Config(vocab_size=vocabulary, **_sizes(network))
    weights = _weights(network)
    # M2M100 has one size for both tables: the source's gets rows that no source can name
    source = weights["model.encoder.embed_tokens.weight"]
    weights["model.encoder.embed_tokens.weight"] = functional.pad(source, (0, 0, 0, vocabulary - len(source)))
    weights["model.shared.weight"] = weights["model.encoder.embed_tokens.weight"]
    weights["lm_head.weight"] = network.module.decoder.output_projection.weight
    return _filled(transformers.M2M100ForConditionalGeneration(config), weights)


def _fsmt(transformers: ModuleType, network: TrainedNetwork) -> Any:
    sizes = {"src_vocab_size": len(network.source), "tgt_vocab_size": len(network.target)}
    config = transformers.FSMTConfig(**sizes, **_sizes(network))
    weights = _weights(network)
    weights["model.decoder.output_projection.weight"] = network.module.decoder.output_projection.weight
    return _filled(transformers.FSMTForConditionalGeneration(config), weights)


def _filled(model: nn.Module, weights: Dict[str, Tensor]) -> Any:
    """*model* with *weights*; all of them have a place, and nothing but positions keeps its first values.

    Raises:
        AMIError: this version of transformers has other weights.
    """
    missing, unexpected = model.load_state_dict(weights, strict=False)
    missing = [name for name in missing if "embed_positions" not in name]
    if missing or unexpected:
        raise AMIError(
            f"this version of transformers has other weights than expected ({[*missing, *unexpected][0]}): nothing is "
            "written"
        )
    return model


def _generation(transformers: ModuleType, network: TrainedNetwork) -> Any:
    """fairseq's defaults of the search: beam 5, and an end as soon as as many hypotheses have ended."""
    dictionary = network.target
    return transformers.GenerationConfig(
        num_beams=5,
        early_stopping=True,
        length_penalty=1.0,
        max_length=min(200, network.limits[1] - 1),
        suppress_tokens=[dictionary.pad()],
        bos_token_id=dictionary.bos(),
        pad_token_id=dictionary.pad(),
        eos_token_id=dictionary.eos(),
        decoder_start_token_id=dictionary.eos(),
    )


# ---------------------------------------------------------------------- the proof


@torch.no_grad()
def _compare(transformers: ModuleType, network: TrainedNetwork, folder: str) -> None:
    """Hold the logits of the written network to fairseq's, for a few sentences in one padded batch.

    Raises:
        AMIError: they differ, so that this version of transformers means something else by the same weights.
    """
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    pairs = probes(network)
    inputs = _padded([source for source, _ in pairs], network.source.pad())
    eos = torch.tensor([network.target.eos()])
    previous = _padded([torch.cat([eos, target[:-1]]) for _, target in pairs], network.target.pad())
    mask = inputs.ne(network.source.pad()).long()
    found = model(input_ids=inputs, attention_mask=mask, decoder_input_ids=previous, use_cache=False).logits
    for logits, (source, target) in zip(found, pairs):
        difference = float((logits[: len(target)] - network.logits(source, target)).abs().max())
        if not difference <= TOLERANCE:
            raise AMIError(
                f"the logits of transformers {transformers.__version__} differ from fairseq's by {difference:.2g}: "
                "nothing is written. Please report this with the network's settings"
            )


def _padded(rows: List[Tensor], pad: int) -> Tensor:
    return nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)


# ---------------------------------------------------------------------- tokenizers


def _write_tokenizers(transformers: ModuleType, network: TrainedNetwork, folder: str) -> None:
    """Tokenizers of text that is segmented already: symbols of the dictionary, separated by spaces."""
    for dictionary, place in _vocabularies(network):
        where = os.path.join(folder, place)
        _tokenizer(transformers, dictionary).save_pretrained(where)


def _vocabularies(network: TrainedNetwork) -> List[Tuple[Dictionary, str]]:
    """The dictionaries, and the folders of their tokenizers; equal ones have one."""
    found = [(network.source, "")]
    if network.source.symbols != network.target.symbols:
        found.append((network.target, TARGET_TOKENIZER))
    return found


def _tokenizer(transformers: ModuleType, dictionary: Dictionary) -> Any:
    tokenizers = needed("tokenizers", f"--format {NAME}")
    vocabulary = {symbol: index for index, symbol in enumerate(dictionary.symbols)}
    unknown, end = dictionary.unk_word, dictionary.eos_word
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single=f"$A {end}", pair=f"$A {end} $B {end}", special_tokens=[(end, dictionary.eos())]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=unknown,
        pad_token=dictionary.pad_word,
        bos_token=dictionary.bos_word,
        eos_token=end,
        clean_up_tokenization_spaces=False,
    )
