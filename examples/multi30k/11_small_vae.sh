#!/usr/bin/env bash
# A text VAE of the English captions that fits into 4 MB, as an archive in half precision. Comes after 1_prepare.sh, whose
# tokens (not the subwords) it reads. Called again, it goes on where it stopped.
. "$(dirname "$0")/common.sh"
VAE_EPOCHS=${VAE_EPOCHS:-8}
NOTES=${NOTES:-$HERE/cards/en-vae.md}  # what the card ends with
vae=$WORK/vae
mkdir -p "$vae"
if [ ! -s "$vae/bin/dict.txt" ]; then
  rm -rf "$vae/bin.tmp"
  for split in train val test_2016_flickr; do cp "$TEXT/$split.tok.en" "$vae/$split"; done
  fairseq-preprocess --only-source --trainpref "$vae/train" --validpref "$vae/val" --testpref "$vae/test_2016_flickr" \
    --thresholdsrc 4 --destdir "$vae/bin.tmp" --workers 1
  mv "$vae/bin.tmp" "$vae/bin"
fi
fairseq-train "$vae/bin" --user-dir "$USER_DIR" --task text_vae --arch text_vae_lstm --embed-dim 96 --hidden-size 192 \
  --latent-dim 32 --dropout 0.3 --word-dropout 0.3 --share-word-vectors --encoder-max-pooling --encoder-bidirectional \
  --latent-skip --critic bilinear --critic-features words --criterion vae_mine_elbo --mi-weight 1 --xi optimal \
  --kl-anneal linear --kl-start 0 --kl-anneal-epochs 4 --free-bits 0.2 --free-bits-per sentence \
  --optimizer ami_phased --inner-optimizer adam --lr 0.002 --lr-scheduler fixed --force-anneal 8 --lr-shrink 0.7 \
  --batch-size 64 --max-epoch "$VAE_EPOCHS" --required-batch-size-multiple 1 --num-workers 0 --seed "$SEED" \
  --save-dir "$vae/run" --no-epoch-checkpoints --log-format simple
fairseq-ami vae-eval "$vae/run/checkpoint_best.pt" --data "$vae/bin" --subset test --no-generation
fairseq-ami export "$vae/run/checkpoint_best.pt" "$vae/multi30k.en-vae.tar.gz" --data "$vae/bin" --tokenizer moses \
  --quantization float16 --notes "$NOTES" --overwrite
