"""`pancar bench`: what a machine carries, measured through the real relay, each figure beside its floor."""
