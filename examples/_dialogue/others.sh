# shellcheck shell=bash
# The systems that AMI is compared with: rows of 3_train.sh beside those of common.sh, which sources this file.
OTHERS=${OTHERS-hred vhred dir-vhred dir-vhred-released vhcr cgan}  # Table 1
KL_UPDATES=${KL_UPDATES:-5000}       # over which the weight of the KL terms rises from 0 to 1
HIERARCHICAL=${HIERARCHICAL:-}       # further options of fairseq-train in the rows hred, vhred, dir-vhred and vhcr
DISCRIMINATOR_UPDATES=${DISCRIMINATOR_UPDATES:-200}  # of cgan's discriminator alone, before the first cycle
DISCRIMINATOR=${DISCRIMINATOR:-5}    # its updates per update of the generator
GAN=${GAN:-}                         # further options of fairseq-train in the row cgan

other_arch() {  # a network of the family $1 of SIZE
  case $1.$SIZE in
    *.tiny) echo "$1_tiny" ;;
    *.small) echo "$1_dialog" ;;
    dialog_gan.paper) echo dialog_gan ;;
    *.paper) echo "$1_park" ;;
    *) stop "SIZE=$SIZE: choose tiny, small or paper" ;;
  esac
}

# The folder of a row: the HRED family has networks of its own, whatever ARCH is; cgan starts from a network of ARCH.
other_folder() { if [ "$1" = cgan ]; then echo "$RUNS/cgan"; else echo "$WORK/hierarchical.$SEED/$1"; fi; }

other_name() { if [ "$1" = cgan ]; then echo "$ARCH-cgan"; else echo "$1"; fi; }  # in the table

hierarchical() {  # hred, vhred, dir-vhred or vhcr, by maximum likelihood or the ELBO, as many epochs as the pretraining
  have_data
  local row=$1 folder options hred family=${1%-released}
  folder=$(other_folder "$row") hred=$(other_folder hred)/checkpoint_best.pt
  mkdir -p "$(dirname "$folder")"
  options="--arch $(other_arch "${family//-/_}")"
  if [ "$row" = hred ]; then
    options="$options --criterion cross_entropy"
  else
    [ -s "$hred" ] || stop "there is no $hred: run 3_train.sh hred first"
    options="$options --hred-checkpoint $hred --criterion dialog_elbo"
    case $row in
      *-released) options="$options --kl-weight-mode inverse-reconstruction" ;;  # as the released code weighs the KL
      *) options="$options --kl-anneal linear --kl-anneal-updates $KL_UPDATES" ;;
    esac
    if [ "$row" = vhcr ]; then options="$options --whole-dialogues"; else options="$options --word-dropout 0.25"; fi
  fi
  # shellcheck disable=SC2086
  fairseq-train "$BIN" --user-dir "$USER_DIR" --task hierarchical_dialog -s hist -t reply $options \
    $OPTIMIZER --clip-norm 1 --max-tokens "$MAX_TOKENS" --max-epoch "$EPOCHS" --seed "$SEED" --save-dir "$folder" \
    --no-epoch-checkpoints --num-workers 1 --patience 3 --skip-invalid-size-inputs-valid-test --log-format simple \
    $DEVICE $PRETRAIN $HIERARCHICAL < /dev/null 2>&1 | tee -a "$folder.log"
}

adversarial() {  # cgan: adversarial REINFORCE from the forward network of ARCH, CYCLES * FORWARD generator updates
  have_data
  have_networks
  # shellcheck disable=SC2086
  fairseq-train "$BIN" --user-dir "$USER_DIR" --task dialog_gan -s hist -t reply --arch "$(other_arch dialog_gan)" \
    --generator-checkpoint "$RUNS/pretrain.forward/checkpoint_best.pt" --criterion dialog_gan --optimizer ami_phased \
    --discriminator-updates "$DISCRIMINATOR_UPDATES" \
    --phase-cycle "discriminator=$DISCRIMINATOR,generator=1,teacher=1" \
    --max-update $((DISCRIMINATOR_UPDATES + CYCLES * FORWARD * (DISCRIMINATOR + 2))) --sample-max-len-b "$MAX_LEN" \
    --max-tokens "$MAX_TOKENS" --seed "$SEED" --save-dir "$(other_folder cgan)" --no-epoch-checkpoints \
    --required-batch-size-multiple 1 --num-workers 1 --log-format simple --log-interval 20 $DEVICE "${VALIDATION[@]}" \
    $GAN 2>&1 | tee -a "$RUNS/cgan.log"
}

train_other() {  # one of OTHERS; called again it goes on where it stopped
  case $1 in
    hred | vhred | dir-vhred | dir-vhred-released | vhcr) hierarchical "$1" ;;
    cgan) adversarial ;;
    *) return 1 ;;
  esac
}

score_others() {  # decode those of OTHERS that are trained
  local row path
  for row in $OTHERS; do
    path=$(other_folder "$row")/$CHECKPOINT
    [ ! -s "$path" ] || decode "$(other_name "$row")" "$path"
  done
}
