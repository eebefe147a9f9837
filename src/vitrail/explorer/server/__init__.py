"""The explorer as a local server: photos and models are switched, windows computed on demand."""
