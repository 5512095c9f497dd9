"""Writing native code: values and functions, the emitter of scalar bodies, elementary functions."""
