"""What operators are given (units, image, guide), used as they would use it."""
