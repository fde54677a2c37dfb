#!/bin/sh
# patn-synth from nothing, on one GPU, in pieces of nine minutes that a time limit may cut: run it again until it says
# "Done". Stages one and two are the weights of before: the authors' discriminators, then L1 alone with random exits.
# Stage three sharpens. FROM=patn-synth starts with it, from the weights that ship.
# Needs: one GPU with 40 GB (an H100: 12 + 4 + 25 minutes, the last estimated); Lite0's weights, from the extra
# `imagenet` or as a file: EXTRA="--set train.perceptual=FILE". EXTRA is handed to each stage, also to rehearse:
#   EXTRA="--set train.generator=patn_tiny --set train.compile=false --set data.cameras=6 --set data.identities=8" ...
# Leaves runs/patn-synth.safetensors (int8) and the same in parts of 15 MiB, runs/patn-synth.part.*
set -eu
SECONDS_A_PIECE=${SECONDS_A_PIECE:-540}
DEVICE=${DEVICE:-auto}
RUN=${RUN:-patn-augment}

stage() { # recipe, folder, more options
  recipe=$1 folder=$2
  shift 2
  [ -f "$folder/generator.safetensors" ] && return
  # shellcheck disable=SC2086
  $RUN train --recipe "$recipe" --out "$folder" --device "$DEVICE" --resume --max-seconds "$SECONDS_A_PIECE" \
    "$@" ${EXTRA:-}
  [ -f "$folder/generator.safetensors" ] || { echo "Not done yet: run this again."; exit 0; }
}

if [ -z "${FROM:-}" ]; then
  stage patn_synth runs/patn-synth --set train.perceptual=off
  stage patn_any_depth runs/patn-any-depth --set train.perceptual=off
  FROM=runs/patn-any-depth/generator.safetensors
fi
stage patn_synth_gan runs/patn-synth-gan --set train.init_weights="$FROM"
$RUN convert runs/patn-synth-gan/generator.safetensors --out runs/patn-synth.safetensors --dtype int8 --device "$DEVICE" \
  --pairs "${PAIRS:-512}"
split -b 15m -d runs/patn-synth.safetensors runs/patn-synth.part.
echo "Done: runs/patn-synth.safetensors"
