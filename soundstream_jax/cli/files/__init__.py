"""INPUT and OUTPUT of commands: files, folders and pipes."""
