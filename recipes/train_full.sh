#!/bin/sh
# patn-synth from nothing, on one GPU, in pieces of nine minutes that a time limit may cut: run it again until it says
# "Done". Stage one trains with discriminators; stage two, L1 alone with random exits, takes their dots and halos away.
# Needs: one GPU with 40 GB (an H100: 12 + 4 minutes). EXTRA="--set ..." is handed to both stages, to rehearse:
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

stage patn_synth runs/patn-synth
stage patn_any_depth runs/patn-any-depth
$RUN convert runs/patn-any-depth/generator.safetensors runs/patn-synth.safetensors --dtype int8 --device "$DEVICE" \
  --pairs "${PAIRS:-512}"
split -b 15m -d runs/patn-synth.safetensors runs/patn-synth.part.
echo "Done: runs/patn-synth.safetensors"
