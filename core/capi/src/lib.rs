//! The C ABI of libtea.
