//! The real binaries, a real mosquitto and a real object store over TLS.
