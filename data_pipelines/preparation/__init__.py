"""From a dataset's files to the folder that training reads."""
