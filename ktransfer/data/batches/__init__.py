"""Parts as `tf.data` pipelines, rows in an order fixed by the seed, and classes in balance."""
