#!/usr/bin/env bash
# From nothing to an evaluated policy: demonstrations in the simulation, a data set, a small ACT, a server, an evaluation.
# Twenty minutes on 2 cores; needs no GPU and downloads nothing. What is there already is not made again.
#   pip install 'offboard-client[cli,record,sim]' 'offboard-core[convert]' 'offboard-lerobot[lerobot]'
#   bash examples/sim_stack/run.sh [FOLDER]
set -euo pipefail
folder=$(realpath -m "${1:-sim_stack}")
mkdir -p "$folder"
export HF_HUB_OFFLINE=1

# 1. Somebody who knows where the cubes are shows how it is done, looks again every 0.8 s, and is pushed meanwhile. The
#    recording has what he commanded, and what the cameras saw. Where some of the attempts failed, the status is 1.
test -d "$folder/recordings" || offboard run sim --policy 'local:scripted?speed=0.2&rest=0.8' --horizon-sec 0.8 \
  --episodes 180 --seconds 40 --seed 10000 --spread 0.15 --image-size 64 --pushes 0.03 --no-record-sent \
  --output-dir "$folder/recordings" || test $? = 1

# 2. What the student may see, which is the wrist's camera and the arm's own state, and what it should have answered.
test -d "$folder/data" || offboard convert "$folder/recordings" --codec lerobot.ee --codec.image-size 64 \
  --codec.cameras image.wrist --outcome success --output-dir "$folder/data"

# 3. LeRobot's own training. Small, without the autoencoder, for the demonstrations do not differ in style; with a rate
#    for a backbone that has seen nothing yet.
#    PyAV reads the pictures without an FFmpeg of the machine's.
test -d "$folder/run" || offboard train --vendor lerobot --policy act --dataset "$folder/data" --output-dir "$folder/run" \
  --num-train-steps 1500 --save_freq 1500 --batch_size 32 --num_workers 1 --dataset.video_backend pyav \
  --policy.device cpu --policy.pretrained_backbone_weights null \
  --policy.dim_model 128 --policy.n_heads 4 --policy.dim_feedforward 512 \
  --policy.n_encoder_layers 2 --policy.use_vae false --policy.dropout 0 \
  --policy.chunk_size 15 --policy.n_action_steps 15 \
  --policy.optimizer_lr_backbone 5e-4 --use_policy_training_preset false \
  --optimizer.type adamw --optimizer.lr 5e-4 --optimizer.grad_clip_norm 10 \
  --scheduler.type cosine_decay_with_warmup --scheduler.peak_lr 5e-4 --scheduler.decay_lr 2.5e-5 \
  --scheduler.num_warmup_steps 50 --scheduler.num_decay_steps 1500

# 4. Served with the codec that stands beside the checkpoint, and tried from 20 starts that it has not seen, over a socket.
port=${PORT:-8765}
offboard serve --vendor lerobot --checkpoints-dir "$folder/run" --device cpu --port "$port" &
server=$!
trap 'kill "$server"' EXIT
offboard evaluate sim "127.0.0.1:$port" --models all --episodes 20 --seconds 30.0 --image-size 64 --spread 0.15 \
  --go-on --output-dir "$folder/evaluation"
echo "the report is $folder/evaluation/report.html; 'offboard replay $folder/evaluation/recordings' shows what happened"
