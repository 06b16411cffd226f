"""The model of a spec: the YAML that declares an asset, with everything that is checked before a run."""
