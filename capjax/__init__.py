"""capjax: explainable image and video captioning in JAX."""
