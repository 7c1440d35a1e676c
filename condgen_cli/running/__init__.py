"""From a model's name and items to results: files and config, the pipeline, decoding."""
