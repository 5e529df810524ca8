"""Trials of the `ferry` program against S3 servers that other people wrote."""
