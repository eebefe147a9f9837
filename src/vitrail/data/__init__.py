"""Images as the library takes them: sources, safe decoding, transforms, data sets."""
