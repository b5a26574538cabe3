"""Where images are explained, if not in this process: on the machines of a cluster."""
