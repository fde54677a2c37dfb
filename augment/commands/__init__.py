"""The command line, one file a group: parse, validate, call. Nothing imports it."""
