#!/usr/bin/env bash
# A pair that fits into 6 MB: the converged networks of 2_pretrain.sh with fewer subwords and a decoder layer less, trained on
# in both directions, then AMI, then an archive in half precision. Comes after 2_pretrain.sh. Called again, it goes on.
. "$(dirname "$0")/common.sh"
SMALL_MERGES=${SMALL_MERGES:-2500}     # the first ones of MERGES
SMALL_UPDATES=${SMALL_UPDATES:-1000}   # of maximum likelihood, whose rate falls to 0
GAME_UPDATES=${GAME_UPDATES:-410}      # 20 of the noise network alone, then turns of 1, 10 and 2
NOTES=${NOTES:-$HERE/cards/en-de.md}   # what the card ends with
small=$WORK/small
mkdir -p "$small/text"
codes=$small/bpe.codes
first_merges() { head -n $((SMALL_MERGES + 1)) "$TEXT/bpe.codes"; }  # the first line is the version
segment() { subword-nmt apply-bpe -c "$codes" < "$1"; }
[ -s "$codes" ] || whole "$codes" first_merges
for split in train val test_2016_flickr; do for lang in en de; do
  [ -s "$small/text/$split.$lang" ] || whole "$small/text/$split.$lang" segment "$TEXT/$split.tok.$lang"
done; done
if [ ! -s "$small/bin/dict.en.txt" ]; then
  rm -rf "$small/bin.tmp"
  fairseq-preprocess -s en -t de --trainpref "$small/text/train" --validpref "$small/text/val" \
    --testpref "$small/text/test_2016_flickr" --joined-dictionary --destdir "$small/bin.tmp" --workers 1
  mv "$small/bin.tmp" "$small/bin"
fi

smaller() {  # source, target, file
  python "$HERE/smaller.py" "$(pretrained "$1" "$2")" "$3" --from-dict "$WHOLE/dict.en.txt" --to-dict "$small/bin/dict.en.txt" \
    --codes "$codes" --encoder-layers 0,1,2,3 --decoder-layers 0,1,3
}
for pair in "en de" "de en"; do
  read -r src tgt <<< "$pair"
  cut=$small/cut.$src-$tgt.pt
  [ -s "$cut" ] || { smaller "$src" "$tgt" "$cut.tmp" && mv "$cut.tmp" "$cut"; }
  fairseq-train "$small/bin" --user-dir "$USER_DIR" --task translation -s "$src" -t "$tgt" --arch transformer \
    --encoder-layers 4 --decoder-layers 3 --encoder-embed-dim 128 --decoder-embed-dim 128 --encoder-ffn-embed-dim 256 \
    --decoder-ffn-embed-dim 256 --encoder-attention-heads 4 --decoder-attention-heads 4 --encoder-normalize-before \
    --decoder-normalize-before --share-all-embeddings --dropout 0.3 --criterion label_smoothed_cross_entropy \
    --label-smoothing 0.1 --optimizer adam --adam-betas '(0.9, 0.98)' --max-tokens 3000 --seed "$SEED" \
    --save-dir "$small/mle.$src-$tgt" --no-epoch-checkpoints --num-workers 0 --log-format simple --finetune-from-model "$cut" \
    --lr 0.001 --lr-scheduler polynomial_decay --warmup-updates 50 --total-num-update "$SMALL_UPDATES" \
    --max-update "$SMALL_UPDATES" < /dev/null
done
# shellcheck disable=SC2086
fairseq-train "$small/bin" --user-dir "$USER_DIR" --task ami_translation -s en -t de --arch ami_transformer \
  --criterion ami_minimax --optimizer ami_phased --objective ami --label-smoothing 0.1 --max-tokens 1000 --seed "$SEED" \
  --forward-checkpoint "$small/mle.en-de/checkpoint_best.pt" --backward-checkpoint "$small/mle.de-en/checkpoint_best.pt" \
  --noise-updates 20 --phase-cycle noise=1,forward=10,backward=2 --reward-scale running-std --policy-weight 10 \
  --sample-temperature 0.6 --num-samples 5 --max-update "$GAME_UPDATES" --save-dir "$small/pair" --log-interval 20 \
  --log-format simple --validate-interval-updates 130 --save-interval-updates 130 --keep-interval-updates 1 \
  --no-epoch-checkpoints --eval-bleu --eval-bleu-args '{"beam": 5}' --eval-bleu-remove-bpe '@@ ' --eval-tokenized-bleu \
  --best-checkpoint-metric bleu --maximize-best-checkpoint-metric --required-batch-size-multiple 1 --num-workers 0 $EXTRA
fairseq-ami export "$small/pair/checkpoint_last.pt" "$small/multi30k.en-de.tar.gz" --pair --data "$small/bin" \
  --bpe-codes "$codes" --tokenizer moses --quantization float16 --notes "$NOTES" --overwrite
