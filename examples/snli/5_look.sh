#!/usr/bin/env bash
# The latent space of one row: reconstructions, interpolation, neighbours, prior samples, a figure.
CORPUS=snli
. "$(dirname "$0")/../_vae/common.sh"
look "$@"
