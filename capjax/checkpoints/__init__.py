"""What a saved captioner is made of; folders beside are the captioners that ship with capjax."""
