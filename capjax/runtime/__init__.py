"""What every process needs: files, locks, digests, streams, other processes."""
