//! Reading an environment file.
