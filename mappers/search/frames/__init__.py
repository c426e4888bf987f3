"""The shapes of trees that the space is made of, one a file."""
