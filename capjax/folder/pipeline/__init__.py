"""What explains a folder's images batch by batch, and where its time goes."""
