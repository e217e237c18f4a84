#!/usr/bin/env bash
# Builds the two environments of 2018 and writes the golden files again:
#
#     reference/legacy/environments.sh FOLDER PYTHON36
#
# The environments (0.7 GB) are created in FOLDER, which can be removed afterwards. PYTHON36 is an
# interpreter of Python 3.6. The tests need neither, because they read the golden files.
set -euo pipefail
folder=$1 python=${2:-python3.6}
here=$(cd "$(dirname "$0")" && pwd)
out=${GOLDEN:-$here/golden}

build() {
  local name=$1
  shift
  "$python" -m venv "$folder/$name"
  "$folder/$name/bin/python" -m pip install --quiet "pip==21.3.1" "setuptools<60"
  "$folder/$name/bin/python" -m pip install --quiet "$@"
}

mkdir -p "$folder" "$out"
build keras tensorflow==1.12.0 keras==2.2.4 keras-preprocessing==1.0.5 keras-applications==1.0.6 \
  h5py==2.8.0 numpy==1.15.4 scipy==1.1.0 pillow==5.3.0 protobuf==3.6.1 scikit-learn==0.20.1
build torch torch==1.0.0 torchvision==0.2.1 pillow==5.3.0 numpy==1.15.4 six==1.11.0
cd "$here"
"$folder/keras/bin/python" -B golden_keras.py "$out/keras-2.2.4"
"$folder/torch/bin/python" -B golden_torch.py "$out/torch-1.0.0"
PYTHONHASHSEED=0 "$folder/keras/bin/python" -B systems_keras.py "$out/systems-keras-2.2.4"
"$folder/torch/bin/python" -B systems_torch.py "$out/systems-torch-1.0.0"
