"""Running a model by name on items: its files and config, the pipeline, decoding, results."""
