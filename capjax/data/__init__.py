"""Captions and images, from files or rendered, to batches of NumPy arrays.

`sources` reads any caption file, `datasets` knows the public ones, `scenes` renders its own;
`images` decodes files, `inputs` and `pipeline` make batches, `feature_writer` and `feature_cache`
keep what a frozen encoder gives, `instances` reads boxes and masks.
"""
