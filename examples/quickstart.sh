#!/usr/bin/env bash
# The whole of it in one go: sets up, builds, classifies pictures, fine-tunes a new head on real handwritten digits, and
# compares that with training from scratch. Nothing is fetched but packages. Safe to repeat; fast the second time.
#
#   examples/quickstart.sh [PICTURE...]           classifies these pictures too
#   GRAFT_MODEL=mine.pt examples/quickstart.sh    with a TorchScript network of yours instead of the small one included
#   GRAFT_MODEL=resnet50 examples/quickstart.sh   with the official weights (or vgg16), fetched and verified
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
title() { printf '\n== %s\n' "$*"; }

title "Set-up and build"
bash cmake/setup.sh
cmake --preset release > build-release.log 2>&1 || { cat build-release.log; exit 1; }
rm -f build-release.log
cmake --build --preset release
graft=build/release/graft
python=.venv/bin/python
included=models/graft_mini.pt
model=${GRAFT_MODEL:-$included}
work=build/quickstart
mkdir -p "$work"

if [[ "$model" == resnet50 || "$model" == vgg16 ]]; then
  title "The official weights of $model"
  "$python" models/export_torchscript.py "$model" --out "$work/$model.pt"
  model="$work/$model.pt"
fi
if [[ "$model" == "$included" ]]; then
  # The network is small and so are its pictures: the same hundred train it from scratch in seconds, to compare.
  epochs=10
else
  epochs=3
fi

title "Classify: what is in these pictures?"
"$graft" classify "$model" examples/images "$@" --top-k 3 --quiet

title "Data: handwritten digits, ten labelled pictures of each"
rm -rf "$work/digits"
"$python" models/digits_folder.py "$work/digits"

title "Transfer: frozen backbone, new head"
"$graft" finetune "$model" --train "$work/digits/train" --val "$work/digits/val" --out "$work/transfer.pt" \
  --head linear --freeze all --epochs "$epochs" --batch 20 --optimizer adam --lr 0.01 --quiet --json > "$work/transfer.json"

if [[ "$model" == "$included" ]]; then
  title "The same network from scratch, on the same hundred pictures"
  "$python" models/reset_weights.py "$model" "$work/scratch.pt"
  "$graft" finetune "$work/scratch.pt" --train "$work/digits/train" --val "$work/digits/val" --out "$work/from_scratch.pt" \
    --head linear --freeze none --epochs "$epochs" --batch 20 --optimizer adam --lr 0.003 --quiet --json > "$work/scratch.json"
else
  rm -f "$work/scratch.json"
fi
"$python" - "$work" <<'PY'
import json, pathlib, sys
print(f"{'':28}{'best val accuracy':>18}{'training images/s':>20}{'seconds':>10}")
for name, what in (("transfer", "transfer, frozen backbone"), ("scratch", "from scratch")):
    file = pathlib.Path(sys.argv[1]) / f"{name}.json"
    if not file.exists():
        continue
    run = json.loads(file.read_text())
    best, seconds = run["epochs"][run["best"]], sum(epoch["seconds"] for epoch in run["epochs"])
    print(f"{what:28}{best['val_accuracy']:>17.1%} {run['images_per_second']:>20.0f}{seconds:>10.1f}")
    if name == "transfer":
        assert run["frozen_unchanged"], "the frozen backbone changed"
PY

title "Evaluate the transferred model"
"$graft" evaluate "$work/transfer.pt" --data "$work/digits/val" --quiet

title "The saved file is plain TorchScript: the same numbers in Python"
"$python" models/check_in_python.py "$work/transfer.pt" "$work/digits/val" --graft "$graft"

title "Done"
echo "Your own pictures: $graft finetune $model --train DIR/train --val DIR/val --head linear --out mine.pt"
echo "Then:              $graft classify mine.pt picture.jpg"
