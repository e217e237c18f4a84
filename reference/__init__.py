"""The study's originals: its Keras CNN and PyTorch MLPs, and their training as it was done.

Nothing here uses JAX. `keras_cnn` needs TensorFlow with Keras 3, `torch_mlp` needs PyTorch, and
`legacy` holds what was recorded on the versions of 2018.
"""
