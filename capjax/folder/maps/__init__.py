"""How the maps of a run are kept: a file a picture, or shards of many."""
