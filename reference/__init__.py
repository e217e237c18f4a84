"""The study's originals: its Keras CNN, its PyTorch MLPs, and their training as in the study.

Nothing here uses JAX. `keras_cnn` needs TensorFlow with Keras 3, `torch_mlp` needs PyTorch, and
`legacy` holds recordings from the versions of 2018.
"""
