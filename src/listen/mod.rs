//! Accept, TLS, protocol choice, connection life. Must never know middlewares.
