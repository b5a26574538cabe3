"""Folders of results that live in a store: written here, and put to their address."""
